package journal

import (
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// counters count since Open.
type counters struct {
	appends, records, batches   atomic.Int64
	syncs, syncCalls, syncNanos atomic.Int64
}

// Stats is a snapshot of a journal. Counters begin at Open.
type Stats struct {
	Segments    int   // that hold records
	Files       int   // segment files, with the prepared and the free ones
	UsedBytes   int64 // of the segments that hold records
	MaxBytes    int64 // Options.MaxBytes
	SegmentSize int64 // bytes of each file

	Head, Tail, Durable, Applied redoubt.LSN
	Acked                        redoubt.LSN // by all cursors, or given up; Head if there are none

	Appends, Records, Batches int64
	SyncCalls                 int64         // calls of Sync
	Syncs                     int64         // fdatasyncs for them
	SyncTime                  time.Duration // spent in those
	IndexErr                  error         // why the index is out of use; nil when it works
	NoSpace                   error         // why no segment could be made lately: the disk is full; nil if one could
}

// Stats returns a snapshot.
func (j *Journal) Stats() Stats {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := Stats{NoSpace: j.noSpace, Segments: len(j.chain), Files: j.files, MaxBytes: j.o.MaxBytes, SegmentSize: j.o.SegmentSize, Head: j.head, Tail: j.tail, Durable: j.Durable(), Applied: j.applied,
		Appends: j.count.appends.Load(), Records: j.count.records.Load(), Batches: j.count.batches.Load(),
		SyncCalls: j.count.syncCalls.Load(), Syncs: j.count.syncs.Load(), SyncTime: time.Duration(j.count.syncNanos.Load()), IndexErr: j.indexErr}
	s.Acked = j.head
	for _, c := range j.cursors {
		s.Acked = min(s.Acked, max(c.acked, j.released))
	}
	for _, g := range j.chain {
		if g.rolled {
			s.UsedBytes += g.size
		} else {
			s.UsedBytes += g.p.end
		}
	}
	return s
}
