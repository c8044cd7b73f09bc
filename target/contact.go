package target

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
)

const methodContact = "target.contact" // contacts of the groups that the caller owns

// Contact is what is known of a group's writer.
type Contact struct {
	UUID     string        `json:"uuid,omitempty"` // of the group; "": of a node of an earlier version
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

func (s *Store) contact(sr index.Series, head redoubt.LSN, headTime int64) {
	s.learnContact(sr.Group, Contact{UUID: sr.UUID, Epoch: sr.Epoch, Head: head, HeadTime: headTime, Last: s.o.Now().UnixNano()})
}

func (s *Store) learnContact(id redoubt.GroupID, c Contact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.contacts[id]
	if c.UUID != "" && c.UUID != old.UUID {
		old = Contact{} // of another group of that name
	}
	// An older word may come late, but not for long: after that a clock was set back.
	if (c.Epoch < old.Epoch || c.Epoch == old.Epoch && c.Last < old.Last) && time.Since(old.heard) < lagFresh {
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
			if n.ID == s.o.ID || !s.peers.Answers(n.ID) {
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
