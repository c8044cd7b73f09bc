package source

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

const (
	// trackEvery is how often the journal's room is looked at.
	trackEvery = 50 * time.Millisecond
	// trackWait is how long a write waits at least that found the journal full:
	// for a round of giving up, and for the images.
	trackWait = 30 * time.Second
	// complainEvery bounds how often the same trouble is logged.
	complainEvery = 30 * time.Second
)

// full asks track for a round now. It does not block.
func (c *catchUp) full() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// track gives up the oldest records that were not shipped when the journal has
// no room for more: until ctx is done, if the group is to track at all.
func (c *catchUp) track(ctx context.Context) {
	if !c.group.cfg.Track {
		return
	}
	t := time.NewTicker(trackEvery)
	defer t.Stop()
	var complained time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-c.kick:
		}
		if err := c.relieve(); err != nil && !errors.Is(err, redoubt.ErrClosed) && time.Since(complained) > complainEvery {
			complained = time.Now()
			c.group.log.Error("the journal is full and its records cannot be given up: writes wait and then fail", "err", err, "hint", redoubt.Hint(err))
		}
	}
}

// relieve does one round.
func (c *catchUp) relieve() error {
	g := c.group
	cur := g.secondary()
	if cur == nil { // not protected: the journal waits for nobody
		return nil
	}
	upTo := giveUpTo(g.journal.Stats(), g.journal.Oldest)
	if upTo == 0 {
		return nil
	}
	_, already := g.journal.Gap()
	if err := cur.GiveUp(upTo); err != nil {
		return err
	}
	if gap, ok := g.journal.Gap(); ok && !already {
		g.log.Warn("the journal overflowed: what was not shipped is given up, and caught up later; older points stay",
			"after", gap.From, "up_to", gap.UpTo, "since", time.Unix(0, gap.Since), "dirty_bytes", gap.Dirty)
	}
	return nil
}

// giveUpTo returns the last LSN to be given up, 0 if there is room, or if not
// the consumers but the images hold it back. Room is an eighth of the journal,
// and two segments at least: one is being filled, one made ready. Twice as much
// is made at a time. A file system that is full makes the journal as small as
// the files that it has.
func giveUpTo(st journal.Stats, oldest func(int64) redoubt.LSN) redoubt.LSN {
	limit := st.MaxBytes
	if st.NoSpace != nil {
		limit = min(limit, int64(st.Files)*st.SegmentSize)
	}
	room := max(limit/8, 2*st.SegmentSize)
	if st.UsedBytes+room <= limit || st.Acked >= st.Applied {
		return 0
	}
	upTo := min(oldest(min(st.UsedBytes+2*room-limit, st.UsedBytes)), st.Applied)
	if upTo <= st.Acked {
		return 0
	}
	return upTo
}
