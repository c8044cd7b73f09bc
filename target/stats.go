package target

import (
	"fmt"
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/gc"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/repair"
	"github.com/redoubt-dr/redoubt/target/scrub"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
	"github.com/redoubt-dr/redoubt/target/view"
)

type counters struct {
	segments, degraded, bytesIn atomic.Uint64
}

// Stats are figures of a node's Store since it was opened.
type Stats struct {
	Streams  int    // groups that ship to this node now
	Segments uint64 // made durable by this node as the owner
	Degraded uint64 // of these, without all of their shards at first
	BytesIn  uint64 // encoded bytes of deltas received
	Shards   shards.Stats
	Repair   repair.Stats
	Garbage  gc.Stats
	Down     []redoubt.NodeID // nodes that do not answer this node
	Log      segment.Stats
	Index    index.Stats
	Views    view.Stats
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	st := Stats{Segments: s.counter.segments.Load(), Degraded: s.counter.degraded.Load(), BytesIn: s.counter.bytesIn.Load(),
		Shards:  s.shards.Stats(),
		Garbage: s.garbage.Stats(),
		Repair:  s.repair.Stats(), Log: s.log.Stats(), Index: s.idx.Stats(), Views: s.views.Stats()}
	s.mu.Lock()
	st.Streams = len(s.streams)
	s.mu.Unlock()
	st.Down = s.peers.Down()
	return st
}

// Redundancy says how well a group's history is stored, over all epochs.
type Redundancy = catalog.Redundancy

// Redundancy returns what the catalog has counted.
func (s *Store) Redundancy(id redoubt.GroupID) (r Redundancy, err error) {
	if _, err := s.group(id); err != nil {
		return r, err
	}
	return s.catalog.Redundancy(id), nil
}

// Report is what Verify found in a node's folder.
type Report struct {
	Shards segment.Report
	Index  index.Report
	Scrub  string // what is wrong with the place of the scrub; it begins anew then
}

// Verify reads and checks everything in a store's folder, offline or beside the
// running daemon. It changes nothing.
func Verify(fs vfs.FS, dir string) (Report, error) {
	var r Report
	var err error
	if r.Shards, err = segment.Verify(fs, filepath.Join(dir, "shards")); err != nil {
		return r, err
	}
	if r.Index, err = index.Verify(fs, filepath.Join(dir, "index")); err != nil {
		return r, err
	}
	if _, err := scrub.Load(fs, filepath.Join(dir, scrub.FileName)); err != nil {
		r.Scrub = err.Error()
	}
	return r, nil
}

// Dump writes the shards and the index runs in a store's folder to w, a line each.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	if err := segment.Dump(fs, filepath.Join(dir, "shards"), w); err != nil {
		return err
	}
	if err := index.Dump(fs, filepath.Join(dir, "index"), w); err != nil {
		return err
	}
	st, err := scrub.Load(fs, filepath.Join(dir, scrub.FileName))
	if err == nil {
		_, err = fmt.Fprintf(w, "scrub %+v\n", st)
	}
	return err
}
