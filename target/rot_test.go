package target

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// flip changes one bit in each shard that pick chooses, in the host's log.
func (h *host) flip(t *testing.T, pick func(segment.Info) bool) (n int) {
	t.Helper()
	h.store.log.Each(func(i segment.Info) bool {
		if !pick(i) || i.ShardLen == 0 {
			return true
		}
		name := filepath.Join(h.dir, "shards", fileOf(i.File))
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		noErr(t, err)
		defer f.Close()
		// The shard's bytes lie behind its header and head.
		at := i.Offset + headerOf(i) + int64(i.HeadLen) + int64(i.ShardLen)/2
		b := make([]byte, 1)
		_, err = f.ReadAt(b, at)
		noErr(t, err)
		b[0] ^= 0x10
		_, err = f.WriteAt(b, at)
		noErr(t, err)
		n++
		return true
	})
	return n
}

func fileOf(n uint64) string {
	const hex = "0123456789abcdef"
	b := []byte("0000000000000000")
	for i := 15; n > 0; i, n = i-1, n>>4 {
		b[i] = hex[n&15]
	}
	return string(b) + ".shards"
}

// headerOf is the length of a record's header: see docs/formats/shardlog.md.
func headerOf(i segment.Info) int64 {
	return 80 + int64(len(i.Group)) + int64(len(i.UUID)) + 4*((int64(i.ShardLen)+65535)/65536) + 4
}

// A rotten shard is never served, neither to a View nor to the decoder; reads
// succeed through the other shards, and the shard is built again. Two rotten
// shards of three are an error, never data.
func TestRot(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSiteWith(t, 3, func(o *Options) { o.CacheBytes, o.HeadBytes = 1, 1 }) // what is in memory is not rotten
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	for range 5 {
		src.write(60)
		src.snap()
	}
	src.shipped()
	s.whole(src.group)
	noErr(t, stopped(stop()))
	any := func(segment.Info) bool { return true }

	victim := s.nodes[rng.IntN(3)]
	if n := victim.flip(t, any); n == 0 {
		t.Fatal("no shard to damage")
	}
	src.checkAll(1)
	src.checkAll(1)
	// A View does not read parity; this does what scrubbing will do.
	var stored []segment.Info
	victim.store.log.Each(func(i segment.Info) bool { stored = append(stored, i); return true })
	for _, i := range stored {
		// One that was read above is built again already, or not there yet.
		sr := index.Series{Group: i.ID.Group, UUID: i.ID.UUID, Epoch: i.ID.Epoch}
		sg, err := victim.store.shards.Segment(sr, i.ID.Ordinal)
		noErr(t, err)
		if _, err := victim.store.shards.ReadShard(t.Context(), sr, &sg, int(i.ID.Shard), 0, i.ShardLen); err != nil && !errors.Is(err, redoubt.ErrCorrupt) {
			isErr(t, err, redoubt.ErrNotFound)
		}
	}
	s.eventually("all rotten shards of "+string(victim.id)+" are built again", func() bool {
		ok, n := true, 0
		var ids []segment.ID
		victim.store.log.Each(func(i segment.Info) bool { ids = append(ids, i.ID); n++; return true })
		g, _ := victim.node.Catalog().Group(src.group)
		for _, id := range ids {
			ok = ok && victim.store.log.Check(id) == nil
		}
		return ok && uint64(n) == victim.node.Catalog().SegmentCount(src.group, g.Epoch)
	})
	if st := victim.store.Stats(); st.Shards.Rotten == 0 || st.Repair.Repaired == 0 {
		t.Errorf("rotten %d, repaired %d", st.Shards.Rotten, st.Repair.Repaired)
	}
	src.checkAll(1)

	// Now two of the three shards of every segment.
	s.nodes[0].flip(t, any)
	s.nodes[1].flip(t, any)
	wrong, errs := 0, 0
	for l, want := range src.snaps {
		for _, h := range s.nodes {
			v, err := h.store.View(t.Context(), src.group, redoubt.Position{Epoch: 1, LSN: l})
			noErr(t, err)
			for i, d := range src.disks {
				got := make([]byte, d.Size)
				switch err := v.ReadAt(d.ID, got, 0); {
				case err != nil:
					errs++
					if !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrUnavailable) && !errors.Is(err, redoubt.ErrNotFound) {
						t.Errorf("unexpected error: %v", err)
					}
				case redoubt.Checksum(got) != redoubt.Checksum(want[i]):
					wrong++
				}
			}
			v.Close()
		}
	}
	if wrong > 0 || errs == 0 {
		t.Fatalf("with two rotten shards of three: %d wrong reads, %d errors", wrong, errs)
	}
}
