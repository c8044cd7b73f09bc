package ship

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// seed returns a generator whose seed is printed when the test fails.
func seed(t testing.TB) *rand.Rand {
	a, b := rand.Uint64(), rand.Uint64()
	t.Logf("seed %d %d", a, b)
	return rand.New(rand.NewPCG(a, b))
}

// payload returns n bytes that compress well, badly or not at all.
func payload(rng *rand.Rand, n int) []byte {
	p := make([]byte, n)
	switch rng.IntN(3) {
	case 0:
		for i := range p {
			p[i] = byte(rng.Uint32())
		}
	case 1:
		for i := range p {
			p[i] = "redoubt "[i%8]
		}
		p[rng.IntN(n)] ^= byte(1 + rng.IntN(255))
	default:
		for i := range p {
			p[i] = byte(rng.IntN(16))
		}
	}
	p[0] |= 1 // never all zero
	return p
}

// randomWrites returns n writes from first on, of all kinds that a builder takes whole.
func randomWrites(rng *rand.Rand, first redoubt.LSN, n, most int) []redoubt.Write {
	ws := make([]redoubt.Write, n)
	now := int64(1_700_000_000_000_000_000)
	for i := range ws {
		now += int64(rng.IntN(1_000_000))
		w := redoubt.Write{LSN: first + redoubt.LSN(i), Time: now, Disk: redoubt.DiskID(1 + rng.IntN(3))}
		w.Extent = redoubt.Extent{Off: uint64(rng.IntN(1<<20)) * 512, Len: 512 * uint64(1+rng.IntN(most/512))}
		switch k := rng.IntN(10); {
		case k < 7:
			w.Kind, w.Data = redoubt.KindWrite, payload(rng, int(w.Extent.Len))
		case k < 8:
			w.Kind, w.Extent.Len = redoubt.KindZero, 4<<30
		case k < 9:
			w.Kind = redoubt.KindTrim
		default:
			w.Kind, w.Disk, w.Extent, w.Data = redoubt.KindBookmark, 0, redoubt.Extent{}, []byte("before upgrade")
		}
		if w.Data != nil {
			w.CRC = redoubt.Checksum(w.Data)
		}
		ws[i] = w
	}
	return ws
}

func build(t testing.TB, codec Codec, ws []redoubt.Write) *Delta {
	t.Helper()
	b := NewBuilder("g1", 3, NewCompressor(codec))
	for i := range ws {
		if err := b.Add(&ws[i]); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func sameWrites(t testing.TB, got, want []redoubt.Write) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d writes, want %d", len(got), len(want))
	}
	for i, w := range want {
		g := got[i]
		if g.LSN != w.LSN || g.Time != w.Time || g.Kind != w.Kind || g.Disk != w.Disk || g.Extent != w.Extent || g.CRC != w.CRC || !bytes.Equal(g.Data, w.Data) {
			t.Fatalf("write %d: got LSN %d %s %d %s, want LSN %d %s %d %s", i, g.LSN, g.Kind, g.Disk, g.Extent, w.LSN, w.Kind, w.Disk, w.Extent)
		}
	}
}

func TestDeltaRoundTrip(t *testing.T) {
	rng := seed(t)
	for range 20 {
		ws := randomWrites(rng, redoubt.LSN(1+rng.IntN(1000)), 1+rng.IntN(40), 256<<10)
		for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
			built := build(t, codec, ws)
			d, err := Parse(built.Encoded())
			if err != nil {
				t.Fatal(err)
			}
			got, err := d.Writes()
			if err != nil {
				t.Fatal(err)
			}
			sameWrites(t, got, ws)
			if d.First != ws[0].LSN || d.Last != ws[len(ws)-1].LSN || d.FirstTime != ws[0].Time || d.LastTime != ws[len(ws)-1].Time {
				t.Fatalf("range %d-%d", d.First, d.Last)
			}
			head, err := ParseHead(d.Encoded()[:d.HeadLen()])
			if err != nil {
				t.Fatal(err)
			}
			// A reader that has ranges only.
			for i, r := range head.Blocks() {
				want, err := d.Block(i)
				if err != nil {
					t.Fatal(err)
				}
				raw, err := InflateBlock(r, d.Encoded()[r.Off:r.Off+r.Len], make([]byte, 0, MaxBlock))
				if err != nil || !bytes.Equal(raw, want) {
					t.Fatalf("block %d from its range: %v", i, err)
				}
				if _, err := head.Block(i); !errors.Is(err, redoubt.ErrInvalid) {
					t.Fatalf("block of a head: %v", err)
				}
			}
		}
	}
}

func TestZeroWriteBecomesZero(t *testing.T) {
	w := redoubt.Write{LSN: 1, Time: 1, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: 0, Len: 8192}, Data: make([]byte, 8192)}
	w.CRC = redoubt.Checksum(w.Data)
	d := build(t, CodecS2, []redoubt.Write{w})
	if e := d.Entries[0]; e.Kind != redoubt.KindZero || e.HasData() || len(d.Blocks()) != 0 {
		t.Fatalf("entry %+v", e)
	}
}

func TestBuilderRefuses(t *testing.T) {
	good := redoubt.Write{LSN: 5, Time: 1, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Len: 512}, Data: bytes.Repeat([]byte{1}, 512)}
	good.CRC = redoubt.Checksum(good.Data)
	for name, c := range map[string]struct {
		change func(w *redoubt.Write)
		want   error
	}{
		"rotten data":   {func(w *redoubt.Write) { w.CRC++ }, redoubt.ErrCorrupt},
		"gap":           {func(w *redoubt.Write) { w.LSN = 7 }, redoubt.ErrGap},
		"repetition":    {func(w *redoubt.Write) { w.LSN = 5 }, redoubt.ErrGap},
		"no disk":       {func(w *redoubt.Write) { w.Disk = 0 }, redoubt.ErrInvalid},
		"past the end":  {func(w *redoubt.Write) { w.Extent.Off = redoubt.MaxDiskSize }, redoubt.ErrInvalid},
		"other length":  {func(w *redoubt.Write) { w.Extent.Len = 1024 }, redoubt.ErrInvalid},
		"unknown kind":  {func(w *redoubt.Write) { w.Kind = 77 }, redoubt.ErrInvalid},
		"write of none": {func(w *redoubt.Write) { w.Data = nil }, redoubt.ErrInvalid},
	} {
		b := NewBuilder("g1", 1, NewCompressor(CodecS2))
		if err := b.Add(&good); err != nil {
			t.Fatal(err)
		}
		w := good
		w.LSN = 6
		c.change(&w)
		if err := b.Add(&w); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Every flipped bit and every cut is found: by Parse in the head, by the blocks'
// checksums behind it.
func TestDeltaDamageIsFound(t *testing.T) {
	rng := seed(t)
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		d := build(t, codec, randomWrites(rng, 100, 6, 4096))
		enc := d.Encoded()
		check := func(b []byte) error {
			d, err := Parse(b)
			if err != nil {
				return err
			}
			return d.VerifyBlocks()
		}
		if err := check(enc); err != nil {
			t.Fatal(err)
		}
		b := bytes.Clone(enc)
		for i := range b {
			for bit := range 8 {
				b[i] ^= 1 << bit
				if err := check(b); !errors.Is(err, redoubt.ErrCorrupt) {
					t.Fatalf("%s: bit %d of byte %d of %d (head %d): %v", codec, bit, i, len(b), d.HeadLen(), err)
				}
				b[i] ^= 1 << bit
			}
		}
		for n := range enc {
			if err := check(enc[:n]); !errors.Is(err, redoubt.ErrCorrupt) {
				t.Fatalf("cut to %d of %d: %v", n, len(enc), err)
			}
		}
		if err := check(append(bytes.Clone(enc), 0)); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Fatalf("one byte more: %v", err)
		}
	}
}

// A newer version is told apart from damage: its header checksum is right.
func TestDeltaNewerVersion(t *testing.T) {
	b := bytes.Clone(build(t, CodecS2, randomWrites(seed(t), 1, 2, 4096)).Encoded())
	b[8] = 2
	crc := redoubt.Checksum(b[:92])
	b[92], b[93], b[94], b[95] = byte(crc), byte(crc>>8), byte(crc>>16), byte(crc>>24)
	if _, err := Parse(b); !errors.Is(err, redoubt.ErrVersion) {
		t.Fatal(err)
	}
}

func FuzzDelta(f *testing.F) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, codec := range []Codec{CodecNone, CodecS2, CodecZstd} {
		ws := randomWrites(rng, 7, 5, 2048)
		grown := redoubt.Write{LSN: ws[len(ws)-1].LSN + 1, Time: ws[len(ws)-1].Time, Disk: 1, Kind: redoubt.KindResize, Extent: redoubt.Extent{Off: 1 << 30}}
		f.Add(build(f, codec, append(ws, grown)).Encoded(), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		if fix && len(b) >= 96 {
			// Gets the fuzzer past the checksums to the checks behind them.
			put := func(at int, v uint32) {
				b[at], b[at+1], b[at+2], b[at+3] = byte(v), byte(v>>8), byte(v>>16), byte(v>>24)
			}
			b = bytes.Clone(b)
			put(92, redoubt.Checksum(b[:92]))
			head := int(uint32(b[12]) | uint32(b[13])<<8 | uint32(b[14])<<16 | uint32(b[15])<<24)
			if head >= 104 && head <= len(b) {
				put(head-8, redoubt.Checksum(b[96:head-8]))
			}
		}
		d, err := Parse(b)
		if err != nil {
			if !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
				t.Fatalf("neither corrupt nor newer: %v", err)
			}
			return
		}
		if err := d.VerifyAll(); err != nil {
			return
		}
		if h, err := ParseHead(b[:d.HeadLen()]); err != nil || h.Last != d.Last || len(h.Entries) != len(d.Entries) {
			t.Fatalf("head alone: %v", err)
		}
		if err := d.Dump(&bytes.Buffer{}); err != nil {
			t.Fatal(err)
		}
	})
}

// What arrives is checked by one sum over all of it, joined from those in the
// directory: it must find every flipped bit, also when the frame's own sum was
// made of the damaged bytes.
func TestJoinedSumFindsDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	b := NewBuilder("g", 1, NewCompressor(CodecS2))
	for i := range 9 {
		p := make([]byte, []int{512, 70 << 10, MaxBlock}[i%3])
		if i%2 == 0 {
			for k := range p {
				p[k] = byte(r.Uint32())
			}
		} else {
			p[i] = 1
		}
		w := redoubt.Write{LSN: redoubt.LSN(i + 1), Time: 1, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(i) << 20, Len: uint64(len(p))}, CRC: redoubt.Checksum(p), Data: p}
		if err := b.Add(&w); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	raw := d.Encoded()
	check := func() error {
		d, err := Parse(raw)
		if err != nil {
			return err
		}
		return d.verifySum(redoubt.Checksum(raw))
	}
	if err := check(); err != nil {
		t.Fatal(err)
	}
	for range 2000 {
		at, bit := r.IntN(len(raw)), byte(1)<<r.IntN(8)
		raw[at] ^= bit
		if err := check(); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Fatalf("bit %#x of byte %d: %v", bit, at, err)
		}
		raw[at] ^= bit
	}
}
