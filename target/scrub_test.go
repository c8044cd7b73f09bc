package target

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/scrub"
	"github.com/redoubt-dr/redoubt/target/segment"
)

func scrubbing(o *Options) {
	o.ScrubBytes, o.ScrubEvery, o.OrphanGrace = 1<<30, time.Hour, time.Millisecond
}

// scrubbed runs a pass on the node and returns what it found.
func (s *site) scrubbed(h *host) scrub.Findings {
	s.t.Helper()
	before := h.store.Scrub().Pass
	noErr(s.t, h.store.ScrubNow())
	s.eventually("a scrub of "+string(h.id), func() bool {
		st := h.store.Scrub()
		return st.Pass > before && !st.Running
	})
	return h.store.Scrub().Last
}

func rounds(src *source, n int) {
	src.copyAll()
	src.shipped()
	for range n {
		src.write(60)
		src.snap()
	}
	src.shipped()
	src.site.whole(src.group)
}

// A pass finds what nobody reads: rotten data and parity shards, shards that
// are not there, and shards that nobody needs. What it found is healed.
func TestScrub(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSiteWith(t, 3, scrubbing)
	src := newSource(t, s, rng)
	stop := src.run()
	rounds(src, 6)
	noErr(t, stopped(stop()))
	h := s.nodes[rng.IntN(3)]
	s.eventually("the node's catalog", func() bool {
		g, _ := h.node.Catalog().Group(src.group)
		return g.Committed.LSN == src.j.Head().LSN
	})
	for s.scrubbed(h).Deleted > 0 { // of a stream that broke off on a busy machine
	}
	n := h.store.Stats().Log.Shards
	if f := s.scrubbed(h); int(f.Shards) != n || f.Rotten+f.Missing+f.Orphans+f.Deleted+f.Files+f.Runs > 0 {
		t.Fatalf("before anything is wrong: %+v, %d shards", f, n)
	}

	flipped := h.flip(t, func(i segment.Info) bool { return i.Ordinal%3 == 0 })
	var gone []segment.ID
	var one segment.Info
	h.store.log.Each(func(i segment.Info) bool {
		one = i
		if i.Ordinal%3 == 1 {
			gone = append(gone, i.ID)
		}
		return true
	})
	noErr(t, h.store.log.Delete(t.Context(), gone...))
	// What a deposed owner left, and what may be committed yet.
	stale, early := one.ID, one.ID
	stale.CRC ^= 1
	early.Ordinal = 1 << 40
	for _, id := range []segment.ID{stale, early} {
		noErr(t, h.store.log.Put(t.Context(), &segment.Shard{ID: id, K: 2, M: 1, Size: 10, Head: []byte("head"), Data: []byte("12345")}))
	}

	f := s.scrubbed(h)
	if int(f.Rotten) != flipped || f.Orphans != 1 {
		t.Errorf("found %+v; %d flipped, %d deleted", f, flipped, len(gone))
	}
	// What is missing may have been found by repair itself, just before.
	// What is rotten is not counted as missing as well.
	s.eventually("all are found missing", func() bool { return int(h.store.Stats().Repair.Gone) >= len(gone) })
	if int(f.Missing) > len(gone) {
		t.Errorf("found %+v; %d flipped, %d deleted", f, flipped, len(gone))
	}
	s.eventually("the stale shard is deleted", func() bool { return !h.has(stale) })
	if !h.has(early) {
		t.Error("a shard that may be committed yet is deleted")
	}
	s.eventually("everything is built again", func() bool { return src.complete(h) })
	s.whole(src.group)
	if f := s.scrubbed(h); f.Rotten+f.Missing+f.Files+f.Runs > 0 {
		t.Errorf("after the repair: %+v", f)
	}
	if st := h.store.Stats(); int(st.Repair.Repaired) != flipped+len(gone) || int(st.Repair.Gone) != len(gone) {
		t.Errorf("%d rebuilt, %d flipped and %d missing", st.Repair.Repaired, flipped, len(gone))
	}
	src.checkAll(1)
	// The place outlives a restart.
	passes := h.store.Scrub().Pass
	h.stop()
	rep, err := Verify(vfs.OS, h.dir)
	noErr(t, err)
	// The rotten records are still in the log, behind their successors.
	if len(rep.Shards.Damage) != flipped || rep.Scrub != "" {
		t.Errorf("verify: %+v, %d flipped", rep, flipped)
	}
	h.start()
	if st := h.store.Scrub(); st.Last.Shards == 0 || st.Pass != passes {
		t.Errorf("after a restart: %+v", st)
	}
}

// A pass goes on where it was when the node stopped.
func TestScrubGoesOn(t *testing.T) {
	slow := true
	s := newSiteWith(t, 3, func(o *Options) {
		scrubbing(o)
		if slow {
			o.ScrubBytes, o.RepairBytes = 1<<19, 1<<30
		}
	})
	src := newSource(t, s, seeded.Rand(t))
	stop := src.run()
	rounds(src, 12)
	noErr(t, stopped(stop()))
	h := s.nodes[0]
	noErr(t, h.store.ScrubNow())
	s.eventually("a part of the log is verified", func() bool { return h.store.Scrub().Found.Shards > 3 })
	h.stop()
	st, err := scrub.Load(vfs.OS, filepath.Join(h.dir, scrub.FileName))
	noErr(t, err)
	if !st.Running || st.Found.Shards < 4 {
		t.Fatalf("saved: %+v", st)
	}
	slow = false
	h.start()
	s.eventually("the end of the pass", func() bool { return !h.store.Scrub().Running })
	end := h.store.Scrub()
	if n := h.store.Stats().Log.Shards; end.Pass != st.Pass || int(end.Last.Shards) != n {
		t.Errorf("pass %d after %d, %d shards of %d", end.Pass, st.Pass, end.Last.Shards, n)
	}
	h.stop()
	noErr(t, os.WriteFile(filepath.Join(h.dir, scrub.FileName), []byte("rotten"), 0o600))
	rep, err := Verify(vfs.OS, h.dir)
	noErr(t, err)
	if rep.Scrub == "" {
		t.Error("verify does not see a damaged place")
	}
	h.start()
	s.eventually("a new pass", func() bool { st := h.store.Scrub(); return st.Pass == 1 && !st.Running })
}

// The source keeps what its secondary has without all of its redundancy, and
// lets it go once that is whole.
func TestSourceKeepsWhatIsNotWhole(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	stop := src.run()
	src.copyAll()
	src.shipped()
	s.whole(src.group)
	wholeAt := func(l redoubt.LSN) func() bool {
		return func() bool { return src.send.Status().Whole >= l && src.j.Cursors()["whole"] >= l }
	}
	s.eventually("everything is whole", wholeAt(src.j.Head().LSN))
	before := src.j.Head().LSN
	away := s.nodes[0]
	if s.owner(src.group) == away {
		away = s.nodes[1]
	}
	away.stop()
	src.write(100)
	src.shipped()
	if st := src.send.Status(); st.Whole > before+100 || st.Acked.LSN != src.j.Head().LSN {
		t.Errorf("with a node away %d of %d is whole", st.Whole, st.Acked.LSN)
	}
	if c := src.j.Cursors(); c["whole"] >= src.j.Head().LSN || c["store"] != src.j.Head().LSN {
		t.Errorf("with a node away the journal may be trimmed: %v", c)
	}
	if r, err := s.owner(src.group).store.Redundancy(src.group); err != nil || r.Degraded == 0 || r.Bare != r.Degraded {
		t.Errorf("with a node away: %+v, %v", r, err)
	}
	ps, err := s.owner(src.group).store.History().Points(t.Context(), src.group, 1)
	noErr(t, err)
	if len(ps) != 1 || !ps[0].Degraded {
		t.Errorf("the newest point: %+v", ps)
	}
	away.start()
	s.eventually("everything is whole again", wholeAt(src.j.Head().LSN))
	s.whole(src.group)
	noErr(t, stopped(stop()))
}
