package cluster

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"
)

const (
	// maxClients bounds the dedupe table; the client that was silent longest
	// makes room. Every start of a node makes one client.
	maxClients = 1024
	// window bounds the answers kept for one client: a proposer does not run
	// further ahead of its oldest open proposal than this.
	window = 1024
)

// client is the dedupe entry of one proposer: the answers that it may still ask for.
type client struct {
	floor   uint64
	last    uint64 // Raft index of its last command
	answers map[uint64][]byte
}

// fsm applies committed commands to the catalog's state, each once.
type fsm struct {
	catalog *Catalog
	// fatal is called when an entry cannot be understood: to skip what the
	// other nodes apply would let the catalogs part.
	fatal  func(error)
	failed error
}

var _ raft.FSM = (*fsm)(nil)

// Apply is called by Raft with one committed entry at a time. It returns the
// encoded outcome, or an error value if the entry could not be applied at all.
func (f *fsm) Apply(l *raft.Log) any {
	if f.failed != nil {
		return f.failed
	}
	v, err := decodeEnvelope(l.Data)
	if err != nil {
		f.failed = fail("apply log entry", fmt.Sprint(l.Index), err, "if the format is newer: run the same version on all nodes")
		f.fatal(f.failed)
		return f.failed
	}
	f.catalog.mu.Lock()
	defer f.catalog.mu.Unlock()
	out := f.catalog.s.apply(l.Index, v)
	f.catalog.notify()
	return out
}

// apply carries out one command and returns its encoded outcome.
func (s *state) apply(index uint64, v envelope) []byte {
	s.index = index
	if v.cmd == nil {
		return outcome{}.encode()
	}
	c := s.client(v.client)
	c.last = index
	if done, ok := c.answers[v.serial]; ok {
		return done
	}
	if v.serial < c.floor || v.floor > v.serial || v.serial-v.floor >= window {
		return outcome{err: invalid("apply command", v.cmd.kind().String(), "stale serial")}.encode()
	}
	if v.floor > c.floor {
		c.floor = v.floor
		for n := range c.answers {
			if n < c.floor {
				delete(c.answers, n)
			}
		}
	}
	var o outcome
	if o.err = v.cmd.check(); o.err == nil {
		if o.err = s.ofJob(v.cmd); o.err == nil {
			o.value, o.err = v.cmd.apply(s)
		}
	}
	b := o.encode()
	c.answers[v.serial] = b
	return b
}

func (s *state) client(id clientID) *client {
	if c, ok := s.clients[id]; ok {
		return c
	}
	if len(s.clients) >= maxClients {
		var oldest clientID
		least := ^uint64(0)
		for k, c := range s.clients {
			if c.last < least { // an index belongs to one client: no ties, so all nodes choose alike
				oldest, least = k, c.last
			}
		}
		delete(s.clients, oldest)
	}
	c := &client{answers: map[uint64][]byte{}}
	s.clients[id] = c
	return c
}

// Snapshot captures the state; it is written out later, beside Apply.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	f.catalog.mu.Lock()
	defer f.catalog.mu.Unlock()
	return &snapshot{s: f.catalog.s.freeze()}, nil
}

// Restore replaces the state by that of a snapshot; on an error it stays as it was.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer func() { _ = r.Close() }()
	s, err := readSnapshot(r)
	if err != nil {
		return fail("restore catalog", "", err, "")
	}
	f.catalog.mu.Lock()
	defer f.catalog.mu.Unlock()
	f.catalog.s = s
	f.catalog.notify()
	return nil
}
