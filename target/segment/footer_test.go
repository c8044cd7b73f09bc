package segment

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// encodeFooterV1 lists hs in the order of the file, as version 1 did.
func encodeFooterV1(hs []*header) []byte {
	le := binary.LittleEndian
	b := append([]byte{}, footerMagic...)
	b = le.AppendUint16(b, footerV1)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, uint32(len(hs)))
	for _, h := range hs {
		b = le.AppendUint64(b, uint64(h.Offset))
		b = le.AppendUint32(b, h.Len)
		b = append(b, h.Type, h.Shard, h.K, h.M, uint8(len(h.Group)), uint8(len(h.UUID)))
		b = le.AppendUint64(b, uint64(h.Epoch))
		b = le.AppendUint64(b, h.Ordinal)
		for _, v := range []uint32{h.CRC, h.Size, h.HeadLen, h.ShardLen} {
			b = le.AppendUint32(b, v)
		}
		b = append(b, h.Group...)
		b = append(b, h.UUID...)
	}
	return le.AppendUint32(b, redoubt.Checksum(b))
}

// records returns headers as a file of n records of several groups would hold them.
func records(rng *rand.Rand, n int) (hs []*header) {
	at := int64(sector)
	for range n {
		id := ID{Group: redoubt.GroupID(fmt.Sprintf("g%d", rng.IntN(3))), UUID: "u", Epoch: redoubt.Epoch(1 + rng.IntN(2)),
			Ordinal: rng.Uint64N(2) * 1e6 * rng.Uint64N(20), Shard: uint8(rng.IntN(3)), CRC: rng.Uint32N(3)}
		h := newTombstone(id)
		if rng.IntN(4) > 0 {
			h = newHeader(&Shard{ID: id, K: 2, M: 1, Data: make([]byte, rng.IntN(100))})
			h.Chunks = nil
		}
		h.File, h.Offset = 1, at
		at += h.total()
		hs = append(hs, h)
	}
	return hs
}

// A footer says the same again, and its sums are those of its records.
func TestFooter(t *testing.T) {
	rng := seeded.Rand(t)
	for _, n := range []int{0, 1, pageEntries, pageEntries + 1, 1000} {
		hs := records(rng, n)
		foot := encodeFooter(1, 4096, hs)
		got, err := decodeFooter(foot.bytes, 1, 4096)
		if err != nil || len(got) != n {
			t.Fatalf("%d records: %d, %v", n, len(got), err)
		}
		var shards, tombs int
		var size int64
		for i, h := range hs {
			h.Durable = got[i].Durable
			if fmt.Sprint(*h) != fmt.Sprint(*got[i]) {
				t.Fatalf("record %d: %+v, %+v", i, h, got[i])
			}
			if h.Type == typeTombstone {
				tombs++
				continue
			}
			shards, size = shards+1, size+h.total()
		}
		if s, d, b := foot.totals(); s != shards || d != tombs || b != size {
			t.Errorf("%d records: %d shards, %d deleted, %d bytes; are %d, %d, %d", n, s, d, b, shards, tombs, size)
		}
		for _, h := range hs {
			if !slices.ContainsFunc(foot.spans, func(s span) bool {
				return foot.series[s.series] == h.name() && s.epoch == h.Epoch && s.lo <= h.Ordinal && h.Ordinal <= s.hi
			}) {
				t.Fatalf("%v is in no span", h.ID)
			}
		}
		// In another file, or at another place, it is not taken for one.
		if _, err := decodeFooter(foot.bytes, 2, 4096); n > 0 && !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("in another file: %v", err)
		}
	}
}

func FuzzFooter(f *testing.F) {
	hs := records(rand.New(rand.NewPCG(1, 1)), 100)
	f.Add(encodeFooter(1, 512, hs).bytes)
	f.Add(encodeFooter(1, 512, nil).bytes)
	f.Add(encodeFooterV1(hs))
	f.Fuzz(func(t *testing.T, b []byte) {
		if hs, err := decodeFooter(b, 1, 512); err == nil && !bytes.Equal(encodeFooter(1, 512, hs).bytes, b) {
			t.Fatal("another encoding of the same footer")
		}
		if hs, err := decodeFooterV1(b, 1); err == nil && !bytes.Equal(encodeFooterV1(hs)[:12], b[:12]) {
			t.Fatal("another encoding of the same footer of version 1")
		}
		// The parts are read without the checksum of the whole, too.
		le := binary.LittleEndian
		sum := le.AppendUint32(bytes.Clone(b), partSum(1, partSummary, b))
		if s, err := decodeSummary(sum, 1); err == nil && !bytes.Equal(s.encodeSummary(), b) {
			t.Fatal("another encoding of the same summary")
		}
		page := append(make([]byte, 4), b...)
		le.PutUint32(page, partSum(1, 0, b))
		if es, err := checkPage(page, 1, 0); err == nil {
			d := &directory{summary: summary{series: []seriesName{{"g", "u"}}}}
			for ; len(es) > 0; es = es[entryLen:] {
				if h, err := d.entry(es, 1); err == nil && !bytes.Equal(appendEntry(nil, &h, 0), es[:entryLen]) {
					t.Fatal("another encoding of the same entry")
				}
			}
		}
	})
}

// A file that was sealed by version 1 is read, and the scrub writes its footer anew.
func TestOlderFooter(t *testing.T) {
	rng := seeded.Rand(t)
	fs, all := smallLog(t, rng, true)
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	s, err := scanFile(f, 1, sizeOf(t, fs))
	if err != nil || !s.sealed {
		t.Fatal(err)
	}
	end := s.headers[len(s.headers)-1].Offset + s.headers[len(s.headers)-1].total()
	old := encodeFooterV1(s.headers)
	if err := f.Truncate(end); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WritevAt([][]byte{old, encodeTrailer(end, len(old))}, end); err != nil {
		t.Fatal(err)
	}
	f.Close()
	deleted := ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: 3, Shard: 0, CRC: someCRC}
	for _, want := range []uint16{footerV1, footerVersion} {
		if rep, err := Verify(fs, dir); err != nil || len(rep.Damage) > 0 || rep.Shards != 4 || rep.Deleted != 1 {
			t.Fatalf("%v %+v", err, rep)
		}
		if _, v, _, ok, err := readFooter(mustOpen(t, fs), 1, sizeOf(t, fs)); v != want || !ok || err != nil {
			t.Fatalf("version %d, %v; want %d", v, err, want)
		}
		l := open(t, fs)
		for _, s := range all {
			if !readsRight(t, l, s, -1) {
				t.Errorf("version %d: %v is lost", want, s.ID)
			}
		}
		if has(t, l, deleted) {
			t.Errorf("version %d: a deleted shard is back", want)
		}
		if err := l.Forget(all[1].ID); err != nil {
			t.Fatal(err)
		}
		if why, err := l.ScrubFile(1); why != nil || err != nil {
			t.Fatalf("%v, %v", why, err)
		}
		if has(t, l, all[1].ID) || !readsRight(t, l, all[0], -1) {
			t.Error("what was forgotten is back, or what was not is gone")
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func mustOpen(t *testing.T, fs vfs.FS) vfs.File {
	t.Helper()
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// While the log is open, a page of a footer that does not hold costs no shard:
// the file is listed anew from its records, and the scrub mends it.
func TestPageRotsWhileOpen(t *testing.T) {
	rng := seeded.Rand(t)
	base, all := smallLog(t, rng, true)
	size := sizeOf(t, base)
	first := size - trailerLen - encodeFooter(1, 0, make4(all)).length()
	for at := first; at < size; at++ {
		fs := base.Clone(rng)
		l, err := Open(dir, Options{FS: fs, FileSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Forget(all[2].ID); err != nil {
			t.Fatal(err)
		}
		cold(l)
		flipAt(t, fs, at, rng.IntN(8))
		for i, s := range all {
			if readsRight(t, l, s, at) != (i != 2) {
				t.Fatalf("byte %d: %v", at, s.ID)
			}
		}
		if got := each(t, l); len(got) != 2 {
			t.Fatalf("byte %d: %d shards", at, len(got))
		}
		if why, err := l.ScrubFile(1); why == nil || err != nil {
			t.Errorf("byte %d: %v, %v", at, why, err)
		}
		if why, err := l.ScrubFile(1); why != nil || err != nil {
			t.Errorf("byte %d, mended: %v, %v", at, why, err)
		}
		if has(t, l, all[2].ID) || !readsRight(t, l, all[0], at) {
			t.Errorf("byte %d, mended: what was forgotten is back, or what was not is gone", at)
		}
		if l.files[1].list.mem != nil {
			t.Errorf("byte %d: the list stays in memory", at)
		}
		l.Close()
	}
}

// make4 returns headers as smallLog's file lists them, for their footer's length.
func make4(all []*Shard) (hs []*header) {
	for _, s := range all {
		hs = append(hs, newHeader(s))
	}
	return append(hs, newHeader(all[0]), newTombstone(all[0].ID))
}

// cold empties the caches.
func cold(l *Log) {
	for _, f := range l.files {
		if f.list != nil {
			l.directories.Remove(f.list.id)
			for p := range int(f.list.pages) {
				l.pages.Remove(pageKey{f.list.id, p})
			}
		}
	}
}

func each(t *testing.T, l *Log) map[ID]Info {
	t.Helper()
	out := map[ID]Info{}
	if err := l.Each(func(i Info) bool {
		if _, twice := out[i.ID]; twice {
			t.Errorf("%v comes twice", i.ID)
		}
		out[i.ID] = i
		return true
	}); err != nil {
		t.Fatal(err)
	}
	return out
}
