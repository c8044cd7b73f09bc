package target

import (
	"io"
	"path/filepath"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

type counters struct {
	segments, degraded, bytesIn, decodes, rotten, repaired, repairedBytes, ahead atomic.Uint64
}

// Stats are figures of a node's Store since it was opened.
type Stats struct {
	Streams       int    // groups that ship to this node now
	Segments      uint64 // made durable by this node as the owner
	Degraded      uint64 // of these, without all of their shards at first
	BytesIn       uint64 // encoded bytes of deltas received
	Decodes       uint64 // reads that had to compute a shard
	Ahead         uint64 // stretches of up to 1 MiB that were read ahead of sequential readers
	Rotten        uint64 // shards of this node found rotten
	Repaired      uint64 // shards that this node rebuilt
	RepairedBytes uint64
	Down          []redoubt.NodeID // nodes that do not answer this node
	Log           segment.Stats
	Index         index.Stats
	Blocks        cache.Stats
	Heads         cache.Stats
}

// Stats returns the present figures.
func (s *Store) Stats() Stats {
	st := Stats{Segments: s.counter.segments.Load(), Degraded: s.counter.degraded.Load(), BytesIn: s.counter.bytesIn.Load(), Decodes: s.counter.decodes.Load(),
		Ahead: s.counter.ahead.Load(), Rotten: s.counter.rotten.Load(), Repaired: s.counter.repaired.Load(), RepairedBytes: s.counter.repairedBytes.Load(),
		Log: s.log.Stats(), Index: s.idx.Stats(), Blocks: s.blocks.Stats(), Heads: s.heads.Stats()}
	s.mu.Lock()
	st.Streams = len(s.streams)
	s.mu.Unlock()
	s.peers.mu.Lock()
	for n := range s.peers.down {
		st.Down = append(st.Down, n)
	}
	s.peers.mu.Unlock()
	return st
}

// Redundancy says how well a group's history is stored, over all epochs.
type Redundancy struct {
	Segments uint64 // committed
	Degraded uint64 // of these, without all of their shards
	Bytes    uint64 // of all shards on all nodes
}

// Redundancy counts the group's segments.
func (s *Store) Redundancy(id redoubt.GroupID) (r Redundancy, err error) {
	g, err := s.group(id)
	if err != nil {
		return r, err
	}
	for _, f := range g.Lineage {
		for from := uint64(0); ; {
			segs := s.catalog.Segments(id, f.Epoch, from, 1024)
			if len(segs) == 0 {
				break
			}
			for i := range segs {
				stored := ones(segs[i].Stored)
				r.Segments++
				r.Bytes += uint64(stored) * uint64(segs[i].ShardSize)
				if stored < int(segs[i].K)+int(segs[i].M) {
					r.Degraded++
				}
			}
			from += uint64(len(segs))
		}
	}
	return r, nil
}

// Report is what Verify found in a node's folder.
type Report struct {
	Shards segment.Report
	Index  index.Report
}

// Verify reads and checks everything in a store's folder, offline or beside the
// running daemon. It changes nothing.
func Verify(fs vfs.FS, dir string) (Report, error) {
	var r Report
	var err error
	if r.Shards, err = segment.Verify(fs, filepath.Join(dir, "shards")); err != nil {
		return r, err
	}
	r.Index, err = index.Verify(fs, filepath.Join(dir, "index"))
	return r, err
}

// Dump writes the shards and the index runs in a store's folder to w, a line each.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	if err := segment.Dump(fs, filepath.Join(dir, "shards"), w); err != nil {
		return err
	}
	return index.Dump(fs, filepath.Join(dir, "index"), w)
}
