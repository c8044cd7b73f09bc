package blockdev

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// TestModel runs random operations and restarts on two disks and compares every
// read, and the journal's records, with plain bytes.
func TestModel(t *testing.T) {
	sizes := []int{256 << 10, 64 << 10}
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Hour // the applier runs when the test says so ...
		if rapid.Bool().Draw(t, "eager applier") {
			interval = time.Microsecond // ... or all the time
		}
		r := newRig(t, GroupOptions{ApplyInterval: interval}, nil, sizes...)
		defer func() { r.g.abandon(); r.j.Close() }()
		if _, err := r.j.Cursor("model", 0); err != nil { // keeps all records readable
			t.Fatalf("cursor: %v", err)
		}
		model := [][]byte{make([]byte, sizes[0]), make([]byte, sizes[1])}
		serial := byte(0)

		pick := func(t *rapid.T) (*Volume, []byte, redoubt.Extent) {
			i := rapid.IntRange(0, 1).Draw(t, "disk")
			unit := uint64(rapid.SampledFrom([]int{1, 512, 4096}).Draw(t, "unit"))
			n := uint64(sizes[i]) / unit
			off := rapid.Uint64Range(0, n-1).Draw(t, "off")
			e := redoubt.Extent{Off: off * unit, Len: rapid.Uint64Range(1, min(n-off, 40)).Draw(t, "len") * unit}
			return r.g.Volumes()[i], model[i][e.Off:e.End()], e
		}
		ok := func(err error) {
			if err != nil {
				t.Fatalf("%v", err)
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				v, m, e := pick(t)
				for i := range m {
					serial = serial*5 + 1
					m[i] = serial
				}
				ok(v.Write(m, e.Off, rapid.Bool().Draw(t, "fua")))
			},
			"zero": func(t *rapid.T) {
				v, m, e := pick(t)
				clear(m)
				ok(v.Zero(e, rapid.Bool().Draw(t, "trim"), rapid.Bool().Draw(t, "fua")))
			},
			"read": func(t *rapid.T) {
				v, m, e := pick(t)
				p := make([]byte, e.Len)
				ok(v.ReadAt(p, e.Off))
				if d := differ(p, m); d != "" {
					t.Fatalf("disk %d at %s: %s", v.Disk().ID, e, d)
				}
			},
			"outside": func(t *rapid.T) {
				v := r.g.Volumes()[0]
				if err := v.Write(make([]byte, 1024), v.Disk().Size-512, false); !errors.Is(err, redoubt.ErrOutOfRange) {
					t.Fatalf("write over the end: %v", err)
				}
			},
			"flush": func(*rapid.T) {
				ok(r.g.Volumes()[0].Flush(background))
				if d := r.j.Durable(); d < r.j.Head().LSN {
					t.Fatalf("durable %d, head %v", d, r.j.Head())
				}
			},
			"drain": func(*rapid.T) {
				ok(r.g.Drain(background))
				for i, b := range r.disks {
					if d := differ(b.stable, model[i]); d != "" {
						t.Fatalf("backing %d after drain: %s", i+1, d)
					}
				}
			},
			"restart": func(*rapid.T) { r.close(t); r.open(t) },
			"kill":    func(*rapid.T) { r.kill(); r.open(t) },
			"": func(t *rapid.T) {
				for i, v := range r.g.Volumes() {
					if d := differ(content(t, v), model[i]); d != "" {
						t.Fatalf("disk %d: %s", i+1, d)
					}
				}
			},
		})
		played := [][]byte{make([]byte, sizes[0]), make([]byte, sizes[1])}
		ws := records(t, r.j, 0)
		play(played, ws, r.j.Head().LSN)
		for i := range played {
			if d := differ(played[i], model[i]); d != "" {
				t.Fatalf("the journal's records of disk %d: %s", i+1, d)
			}
		}
		for _, w := range ws {
			if w.Kind <= redoubt.KindTrim && !aligned(w.Extent) || redoubt.Checksum(w.Data) != w.CRC && len(w.Data) > 0 {
				t.Fatalf("record %d of %s at %s is no whole sectors, or its checksum is wrong", w.LSN, w.Kind, w.Extent)
			}
		}
	})
}

// TestPowerCut cuts the current at random operations of the applier. What is
// found after it must be the journal's records up to its head, on every disk,
// and nothing that was flushed may be missing.
func TestPowerCut(t *testing.T) {
	rounds := 60
	if testing.Short() {
		rounds = 20
	}
	rng, lost := seeded.Rand(t), 0
	for range rounds {
		lost += powerCut(t, rand.New(rand.NewPCG(rng.Uint64(), 1)))
	}
	t.Logf("%d cuts, %d unflushed records lost", rounds, lost)
	if lost == 0 {
		t.Error("no cut lost anything: the test does not test")
	}
}

func powerCut(t *testing.T, rng *rand.Rand) (lost int) {
	p := &power{at: 1 + rng.IntN(60)}
	sizes := []int{128 << 10, 64 << 10}
	r := newRig(t, GroupOptions{ApplyInterval: 100 * time.Microsecond, SyncInterval: 300 * time.Microsecond}, p, sizes...)
	if _, err := r.j.Cursor("model", 0); err != nil {
		t.Fatal(err)
	}
	if err := r.g.Volumes()[0].Flush(background); err != nil {
		t.Fatal(err)
	}
	var found *rig
	var flushed, floor redoubt.LSN // guarded by p.mu
	crash := rand.New(rand.NewPCG(rng.Uint64(), 2))
	p.cut = func() {
		found = &rig{fs: r.fs.Clone(crash), o: r.o}
		for _, b := range r.disks {
			found.disks = append(found.disks, b.after(crash))
		}
		floor = flushed
	}
	isCut := func() bool { p.mu.Lock(); defer p.mu.Unlock(); return found != nil }
	for i := 0; !isCut(); i++ {
		v := r.g.Volumes()[rng.IntN(2)]
		off := uint64(rng.IntN(int(v.Disk().Size)/512-8)) * 512
		var err error
		fua := rng.IntN(16) == 0
		switch rng.IntN(8) {
		case 0:
			err = v.Zero(redoubt.Extent{Off: off, Len: uint64(1+rng.IntN(8)) * 512}, rng.IntN(2) == 0, fua)
		default:
			b := make([]byte, (1+rng.IntN(8))*512)
			for k := range b {
				b[k] = byte(rng.Uint32())
			}
			err = v.Write(b, off, fua)
		}
		head := r.j.Head().LSN
		if err == nil && !fua && rng.IntN(32) == 0 {
			fua, err = true, v.Flush(background)
		}
		if err == nil && rng.IntN(24) == 0 { // makes the applied mark durable, too
			err = r.j.PutState("round", []byte{byte(i)})
		}
		if err != nil {
			t.Fatal(err)
		}
		if fua {
			p.mu.Lock()
			flushed = head
			p.mu.Unlock()
		}
	}
	ws := records(t, r.j, 0)
	r.g.abandon()
	r.j.Close()

	found.open(t)
	defer func() { found.g.abandon(); found.j.Close() }()
	head := found.j.Head().LSN
	if head < floor {
		t.Errorf("head %d after the cut, but %d was flushed", head, floor)
	}
	want := [][]byte{make([]byte, sizes[0]), make([]byte, sizes[1])}
	play(want, ws, head)
	for i, v := range found.g.Volumes() {
		if d := differ(content(t, v), want[i]); d != "" {
			t.Errorf("disk %d at LSN %d (flushed %d, applied %d): %s", i+1, head, floor, found.j.Applied(), d)
		}
	}
	return len(ws) - int(head)
}
