package target

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/view"
)

// shippedHistory is a site with a source whose points are remembered.
func shippedHistory(t *testing.T) (*site, *source) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	for range 6 {
		src.write(60)
		src.snap()
	}
	src.shipped()
	noErr(t, stopped(stop()))
	s.whole(src.group)
	return s, src
}

// image reads a disk with EachData.
func image(t *testing.T, v *view.View, d redoubt.Disk) []byte {
	t.Helper()
	got := make([]byte, d.Size)
	at := uint64(0)
	noErr(t, v.EachData(t.Context(), d.ID, func(off uint64, data []byte) error {
		if off < at {
			t.Fatalf("data at %d after %d", off, at)
		}
		at = off + uint64(copy(got[off:], data))
		return nil
	}))
	return got
}

func TestEachDataIsThePoint(t *testing.T) {
	s, src := shippedHistory(t)
	check := func(h *host) {
		for l, want := range src.snaps {
			v, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: l})
			noErr(t, err)
			for i, d := range src.disks {
				if !bytes.Equal(image(t, v, d), want[i]) {
					t.Fatalf("disk %s at %d is not the model's", d.Name, l)
				}
			}
			noErr(t, v.Close())
		}
	}
	check(s.nodes[0])
	s.nodes[1].stop() // from now on a third of the blocks has to be computed
	check(s.nodes[2])
}

func TestEachDataEnds(t *testing.T) {
	s, src := shippedHistory(t)
	v, err := s.nodes[0].store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: src.snap()})
	noErr(t, err)
	defer v.Close()
	boom := errors.New("boom")
	isErr(t, v.EachData(t.Context(), 1, func(uint64, []byte) error { return boom }), boom)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	isErr(t, v.EachData(ctx, 1, func(uint64, []byte) error { return nil }), context.Canceled)
	isErr(t, v.EachData(t.Context(), 99, nil), redoubt.ErrNotFound)
	noErr(t, v.Close())
	isErr(t, v.EachData(t.Context(), 1, func(uint64, []byte) error { return nil }), redoubt.ErrClosed)
}

// A reader that goes on in order finds its blocks in the cache; what it gets
// is the same as ever, and so it is with a node gone.
func TestSequentialReaderIsServedAhead(t *testing.T) {
	s, src := shippedHistory(t)
	l := src.snap()
	want := src.snaps[l]
	for _, down := range []bool{false, true} {
		h := s.nodes[0]
		if down {
			s.nodes[1].stop()
			h = s.nodes[2] // which has read nothing yet
		}
		v, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: l})
		noErr(t, err)
		before := h.store.Stats().Views.Ahead
		d := src.disks[0]
		p := make([]byte, 8<<10)
		for off := uint64(0); off < d.Size; off += uint64(len(p)) {
			noErr(t, v.ReadAt(d.ID, p, off))
			if !bytes.Equal(p, want[0][off:off+uint64(len(p))]) {
				t.Fatalf("down %v: wrong bytes at %d", down, off)
			}
		}
		if h.store.Stats().Views.Ahead == before {
			t.Fatalf("down %v: nothing was read ahead of a sequential reader", down)
		}
		noErr(t, v.Close())
	}
}
