package blockdev

import (
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Lag is how far the images are behind the journal. A write leaves memory when
// it is in the image's page cache, and stays in the journal until it is synced.
type Lag struct {
	Records uint64        // writes not yet in the images
	Bytes   int64         // memory that they hold
	Age     time.Duration // since the oldest of them came; 0 if there is none

	UnsyncedRecords uint64        // writes not yet durable in the images: these, and those in their page cache
	UnsyncedBytes   int64         // of these
	UnsyncedAge     time.Duration // since the oldest of them came; 0 if there is none
}

// stages says when the oldest write of each stage came, of the group's clock;
// 0 if the stage is empty. It is kept by the round, not by the write: only the
// first write after a freeze looks at the clock. After a restart the oldest
// write counts from the restart. It is guarded by Group.mu.
type stages struct {
	active  int64 // in memory
	frozen  int64 // on the way into the images
	written int64 // in the images' page cache
	syncing int64 // on the way to their disks
}

func (s *stages) freeze() { s.frozen, s.active = s.active, 0 }

// wrote follows freeze, when the round is done.
func (s *stages) wrote() { s.written, s.frozen = oldest(s.written, s.frozen), 0 }

func (s *stages) beginSync() { s.syncing, s.written = s.written, 0 }

func (s *stages) synced() { s.syncing = 0 }

// oldest returns the first of the times that is set; they are given in the
// order of the way of a write, backwards.
func oldest(times ...int64) int64 {
	for _, t := range times {
		if t != 0 {
			return t
		}
	}
	return 0
}

// lag is what Stats says of it. The caller holds g.mu.
func (g *Group) lag() Lag {
	s, now := g.since, g.clock()
	age := func(t int64) time.Duration {
		if t == 0 {
			return 0
		}
		return time.Duration(max(0, now-t))
	}
	l := Lag{
		Records: behind(g.head, g.written), Bytes: g.used,
		UnsyncedRecords: behind(g.head, g.applied), UnsyncedBytes: g.used + g.unsynced + g.syncing,
	}
	if l.Records > 0 {
		l.Age = age(oldest(s.frozen, s.active))
	}
	if l.UnsyncedRecords > 0 {
		l.UnsyncedAge = age(oldest(s.syncing, s.written, s.frozen, s.active))
	}
	return l
}

func behind(head, at redoubt.LSN) uint64 { return uint64(max(head, at) - at) }
