package target

import (
	"context"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// follow takes over what the catalog says: new segments into the index, and
// new epochs and owners to the streams.
func (s *Store) follow() {
	for {
		changed := s.catalog.Changed()
		for _, g := range s.catalog.Groups() {
			s.checkStream(&g)
			if below := s.catalog.Standing(g.ID).Erased; below != 0 {
				s.idx.Forget(func(sr index.Series) bool { return sr.Group == g.ID && sr.UUID == g.UUID && sr.Epoch < below })
			}
			for _, f := range g.Lineage {
				s.idx.Add(shards.SeriesOf(&g, f.Epoch), s.catalog.SegmentCount(g.ID, f.Epoch))
			}
		}
		select {
		case <-s.ctx.Done():
			return
		case <-changed:
		}
	}
}

// firstLeft tells the index of which segments nothing is left.
func (s *Store) firstLeft(sr index.Series, from, to uint64) uint64 {
	return s.catalog.FirstLeft(sr.Group, sr.UUID, sr.Epoch, from, to)
}

// checkStream ends the group's stream if it is no longer allowed.
func (s *Store) checkStream(g *catalog.Group) {
	s.mu.Lock()
	st := s.streams[g.ID]
	s.mu.Unlock()
	if st == nil {
		return
	}
	switch {
	case g.Epoch != st.series.Epoch || g.Writer != st.writer || g.UUID != st.series.UUID:
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("epoch %d of %s: %w", g.Epoch, g.Writer, redoubt.ErrFenced)})
	case g.Held():
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState), Hint: "the source keeps its writes to itself until it is resumed"})
	case g.Owner != s.o.ID || g.OwnerTerm != st.term:
		st.fail(&redoubt.Error{Op: "store delta", Object: string(g.ID), Err: fmt.Errorf("node %s owns the group now: %w", g.Owner, redoubt.ErrUnavailable)})
	default:
		st.noteJob(g)
	}
}

// Entries gives the index the entries of a segment: from the node's own copy of
// its head, or a peer's.
func (s *Store) Entries(ctx context.Context, sr index.Series, ordinal uint64) ([]index.Entry, error) {
	d, err := s.headAt(ctx, sr, ordinal)
	if d == nil {
		return nil, err
	}
	out := make([]index.Entry, 0, len(d.Entries))
	for i := range d.Entries {
		e := &d.Entries[i]
		// A copy entry without data, a baseline or a bookmark changes nothing.
		if e.Extent.Len == 0 || !e.Kind.Zeroes() && !e.HasData() {
			continue
		}
		out = append(out, indexEntry(e))
	}
	return out, nil
}

func indexEntry(e *ship.Entry) index.Entry {
	return index.Entry{LSN: e.LSN, Disk: e.Disk, Extent: e.Extent, Zero: e.Kind.Zeroes(), Block: e.Block, BlockOff: e.BlockOff, CRC: e.CRC}
}

// headAt returns the head of a segment as it is now: nil if nothing is left of it.
func (s *Store) headAt(ctx context.Context, sr index.Series, ordinal uint64) (*ship.Delta, error) {
	_, d, err := s.shards.SegmentHead(ctx, sr, ordinal)
	return d, err
}

// Contact is what is known of a group's writer.
type Contact struct {
	Epoch    redoubt.Epoch `json:"epoch"`
	Head     redoubt.LSN   `json:"head"`      // last LSN in its journal
	HeadTime int64         `json:"head_time"` // time of that write, Unix nanoseconds
	Lag      int64         `json:"lag"`       // age of its oldest delta that waits for its commit, nanoseconds
	Last     int64         `json:"last"`      // when the writer was last heard of, by the owner's clock

	heard time.Time // when this node learned it
}

// Head returns how far the group's writer was last known to be, and when it
// was last heard of. Nodes that do not own the group know it within a second or
// so. Zero values: never heard of.
func (s *Store) Head(id redoubt.GroupID) (head redoubt.LSN, headTime, lastContact time.Time) {
	s.mu.Lock()
	c := s.contacts[id]
	s.mu.Unlock()
	if c.Last == 0 {
		return 0, time.Time{}, time.Time{}
	}
	return c.Head, time.Unix(0, c.HeadTime), time.Unix(0, c.Last)
}

func (s *Store) contact(id redoubt.GroupID, e redoubt.Epoch, head redoubt.LSN, headTime int64) {
	s.learnContact(id, Contact{Epoch: e, Head: head, HeadTime: headTime, Last: s.o.Now().UnixNano()})
}

func (s *Store) learnContact(id redoubt.GroupID, c Contact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.contacts[id]
	if c.Epoch < old.Epoch || c.Epoch == old.Epoch && c.Last < old.Last {
		return
	}
	// A delta may be heard of after a heartbeat that was sent later.
	if c.Epoch == old.Epoch && c.Head < old.Head {
		c.Head, c.HeadTime = old.Head, old.HeadTime
	}
	c.heard = time.Now()
	s.contacts[id] = c
}

// exchangeContacts tells the other nodes about the writers of this node's
// groups, so that it is known how far they were when this node dies.
func (s *Store) exchangeContacts() {
	t := time.NewTicker(s.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		mine := map[redoubt.GroupID]Contact{}
		s.mu.Lock()
		for id, st := range s.streams {
			c := s.contacts[id]
			c.Lag = int64(st.waits())
			mine[id] = c
		}
		s.mu.Unlock()
		if len(mine) == 0 {
			continue
		}
		body := peers.Encode(mine)
		for _, n := range s.catalog.Nodes() {
			if n.ID == s.o.ID || !s.peers.Up(n.ID) {
				continue
			}
			ctx, cancel := context.WithTimeout(s.ctx, s.o.PutTimeout)
			_, err := s.peers.Call(ctx, n.ID, methodContact, body)
			cancel()
			if err != nil && s.ctx.Err() == nil {
				s.o.Logger.Debug("contacts not told", "node", n.ID, "err", err)
			}
		}
	}
}

func (s *Store) serveContact(_ context.Context, body []byte) ([]byte, error) {
	var m map[redoubt.GroupID]Contact
	if _, err := peers.Decode(body, &m); err != nil {
		return nil, err
	}
	for id, c := range m {
		if _, ok := s.catalog.Group(id); ok {
			s.learnContact(id, c)
		}
	}
	return nil, nil
}
