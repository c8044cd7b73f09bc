package blockdev

import (
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/histogram"
)

// counters of a disk; they only grow.
type counters struct {
	reads, readBytes, slowReads atomic.Uint64
	writes, writeBytes          atomic.Uint64
	zeroes, zeroBytes           atomic.Uint64
	trims, trimBytes            atomic.Uint64
	flushes, errors             atomic.Uint64
	applied, appliedCalls       atomic.Uint64
	unaligned                   atomic.Uint64
}

func (c *counters) wrote(w *redoubt.Write) {
	switch w.Kind {
	case redoubt.KindZero:
		c.zeroes.Add(1)
		c.zeroBytes.Add(w.Extent.Len)
	case redoubt.KindTrim:
		c.trims.Add(1)
		c.trimBytes.Add(w.Extent.Len)
	case redoubt.KindWrite:
		c.writes.Add(1)
		c.writeBytes.Add(w.Extent.Len)
	}
}

// DiskStats counts what happened to a disk since the group was opened. Counts
// of bytes end in Bytes; the others count requests as they are journaled.
type DiskStats struct {
	Disk                  redoubt.Disk
	Reads, ReadBytes      uint64
	SlowReads             uint64 // reads answered off the reader loop
	Writes, WriteBytes    uint64
	Zeroes, ZeroBytes     uint64
	Trims, TrimBytes      uint64
	Flushes               uint64
	Unaligned             uint64 // writes that had to read a sector first
	Errors                uint64 // requests answered with an error
	AppliedBytes, Applies uint64 // data bytes and calls given to the backing
	Pieces                int    // in memory now

	// Latencies in nanoseconds of requests that NBD clients got answered without
	// an error: see latency.go for what is measured.
	ReadLatency, WriteLatency, FlushLatency histogram.Snapshot
}

// Stats is a snapshot of a group's state.
type Stats struct {
	Disks       []DiskStats
	Head        redoubt.LSN // last write visible to readers
	Applied     redoubt.LSN // everything up to here is in the backings, synced
	Lag         Lag
	MemoryBytes int64 // held by unapplied writes
	MemoryLimit int64
	Rounds      uint64 // of the applier
	Waiting     int    // writers held back for memory or journal space now
	ReadOnly    error  // nil if clients may write
	Err         error  // the latched failure, if any
}

// Stats returns a snapshot.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	s := Stats{
		Head: g.head, Applied: g.applied, Lag: g.lag(), MemoryBytes: g.used, MemoryLimit: g.o.MemoryLimit,
		Rounds: g.rounds, Waiting: g.waiting, ReadOnly: g.readOnly, Err: g.failed,
	}
	g.mu.Unlock()
	for _, v := range g.present() {
		c := &v.disk.count
		s.Disks = append(s.Disks, DiskStats{
			Disk:  v.disk.info,
			Reads: c.reads.Load(), ReadBytes: c.readBytes.Load(), SlowReads: c.slowReads.Load(),
			Writes: c.writes.Load(), WriteBytes: c.writeBytes.Load(),
			Zeroes: c.zeroes.Load(), ZeroBytes: c.zeroBytes.Load(),
			Trims: c.trims.Load(), TrimBytes: c.trimBytes.Load(),
			Flushes: c.flushes.Load(), Unaligned: c.unaligned.Load(), Errors: c.errors.Load(),
			AppliedBytes: c.applied.Load(), Applies: c.appliedCalls.Load(),
			Pieces:      v.disk.pieces(),
			ReadLatency: v.disk.latency[classRead].Snapshot(), WriteLatency: v.disk.latency[classWrite].Snapshot(),
			FlushLatency: v.disk.latency[classFlush].Snapshot(),
		})
	}
	return s
}
