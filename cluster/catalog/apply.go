package catalog

const (
	// maxClients bounds the dedupe table; the client that was silent longest
	// makes room. Every start of a node makes one client.
	maxClients = 1024
	// Window bounds the answers kept for one client: a proposer does not run
	// further ahead of its oldest open proposal than this.
	Window = 1024
)

// client is the dedupe entry of one proposer: the answers that it may still ask for.
type client struct {
	floor   uint64
	last    uint64 // Raft index of its last command
	answers map[uint64][]byte
}

// apply carries out one command and returns its encoded outcome.
func (s *state) apply(index uint64, v Envelope) []byte {
	s.index = index
	if v.Cmd == nil {
		return outcome{}.encode()
	}
	c := s.client(v.Client)
	c.last = index
	if done, ok := c.answers[v.Serial]; ok {
		return done
	}
	if v.Serial < c.floor || v.Floor > v.Serial || v.Serial-v.Floor >= Window {
		return outcome{err: invalid("apply command", v.Cmd.kind().String(), "stale serial")}.encode()
	}
	if v.Floor > c.floor {
		c.floor = v.Floor
		for n := range c.answers {
			if n < c.floor {
				delete(c.answers, n)
			}
		}
	}
	var o outcome
	if o.err = v.Cmd.check(); o.err == nil {
		if o.err = s.ofJob(v.Cmd); o.err == nil {
			o.value, o.err = v.Cmd.apply(s)
		}
	}
	b := o.encode()
	c.answers[v.Serial] = b
	return b
}

func (s *state) client(id ClientID) *client {
	if c, ok := s.clients[id]; ok {
		return c
	}
	if len(s.clients) >= maxClients {
		var oldest ClientID
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
