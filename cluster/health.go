package cluster

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// health is what this node knows of the others from calling them.
type health struct {
	now   func() time.Time
	mu    sync.Mutex
	start time.Time
	peers map[redoubt.NodeID]*contact
}

// contact is the last that was heard of one node.
type contact struct {
	calling bool
	last    time.Time // zero: never in this run
	role    string
	applied uint64
}

func newHealth(now func() time.Time) *health {
	return &health{now: now, start: now(), peers: map[redoubt.NodeID]*contact{}}
}

func (h *health) peer(id redoubt.NodeID) *contact {
	c, ok := h.peers[id]
	if !ok {
		c = &contact{}
		h.peers[id] = c
	}
	return c
}

// silent is for how long nothing was heard of the node; since the start of
// this run if nothing ever was.
func (h *health) silent(id redoubt.NodeID) time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	since := h.start
	if c := h.peer(id); !c.last.IsZero() {
		since = c.last
	}
	return h.now().Sub(since)
}

// claim reports whether the node should be called now: not while a call is open.
func (h *health) claim(id redoubt.NodeID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.peer(id)
	was := c.calling
	c.calling = true
	return !was
}

// heard notes the end of a call; pong is nil if there was no answer.
func (h *health) heard(id redoubt.NodeID, pong []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.peer(id)
	c.calling = false
	d := &decoder{b: pong}
	role, applied := d.str(maxName, "role"), d.u64()
	if d.done() == nil {
		c.last, c.role, c.applied = h.now(), role, applied
	}
}

// pong is this node's answer to a ping.
func (n *Node) pong() []byte {
	var e encoder
	e.str(n.raft.State().String())
	e.u64(n.catalog.Index())
	return e.b
}

// pingAll calls every other registered node in turn, until Close. A node that
// does not answer holds nobody else up.
func (n *Node) pingAll() {
	t := time.NewTicker(n.o.Timeouts.Ping)
	defer t.Stop()
	for {
		for _, p := range n.catalog.Nodes() {
			if p.ID != n.o.ID && n.health.claim(p.ID) {
				n.run(func() { n.ping(p) })
			}
		}
		select {
		case <-t.C:
		case <-n.ctx.Done():
			return
		}
	}
}

func (n *Node) ping(p NodeInfo) {
	ctx, cancel := context.WithTimeout(n.ctx, max(time.Second, n.o.Timeouts.Ping))
	defer cancel()
	b, err := n.o.Pool.Call(ctx, p.Addr, methodPing)
	if err != nil {
		b = nil
	}
	n.health.heard(p.ID, b)
}

// Alive reports whether the node answered lately: within four pings, and
// always for the node itself. Any node may ask.
func (n *Node) Alive(id redoubt.NodeID) bool {
	return id == n.o.ID || n.health.silent(id) < 4*n.o.Timeouts.Ping+time.Second/2
}

// Status is a node's view of the cluster.
type Status struct {
	ID      redoubt.NodeID `json:"id"`
	Leader  redoubt.NodeID `json:"leader"` // "" if there is none
	Role    string         `json:"role"`   // Leader, Follower, Candidate, Shutdown
	Term    uint64         `json:"term"`
	Last    uint64         `json:"last_index"`      // last entry in the log
	Commit  uint64         `json:"committed_index"` // last entry that is committed
	Applied uint64         `json:"applied_index"`   // last command in the catalog
	Nodes   []NodeStatus   `json:"nodes"`
}

// NodeStatus is one node as another sees it.
type NodeStatus struct {
	NodeInfo
	Alive       bool      `json:"alive"`
	LastContact time.Time `json:"last_contact"` // zero if never in this run
	Role        string    `json:"role"`         // as it last said
	Applied     uint64    `json:"applied_index"`
}

// Status returns this node's view of the cluster.
func (n *Node) Status() Status {
	leader, _ := n.Leader()
	s := Status{ID: n.o.ID, Leader: leader.ID, Role: n.raft.State().String(), Term: n.raft.CurrentTerm(),
		Last: n.raft.LastIndex(), Commit: n.raft.CommitIndex(), Applied: n.catalog.Index()}
	for _, info := range n.catalog.Nodes() {
		ns := NodeStatus{NodeInfo: info, Alive: n.Alive(info.ID)}
		if info.ID == n.o.ID {
			ns.LastContact, ns.Role, ns.Applied = n.o.Now(), s.Role, s.Applied
		} else {
			n.health.mu.Lock()
			c := n.health.peer(info.ID)
			ns.LastContact, ns.Role, ns.Applied = c.last, c.role, c.applied
			n.health.mu.Unlock()
		}
		s.Nodes = append(s.Nodes, ns)
	}
	return s
}

// register tells the catalog where this node is, again and again until it is in.
func (n *Node) register() {
	me := NodeInfo{ID: n.o.ID, Addr: n.o.Advertise, Instance: n.self.Instance}
	for n.ctx.Err() == nil {
		ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
		_, err := n.Propose(ctx, PutNode{Node: me})
		cancel()
		switch {
		case err == nil:
			return
		case errors.Is(err, redoubt.ErrExists) || errors.Is(err, redoubt.ErrInvalid):
			n.fatal(err)
			return
		}
		n.o.Logger.Debug("not registered yet", "error", err)
	}
}

// askIfKnown refuses to start a node without a log that the others know.
func (n *Node) askIfKnown() error {
	var wg sync.WaitGroup
	known := make([]redoubt.NodeID, len(n.o.Bootstrap))
	for i, p := range n.o.Bootstrap {
		if p.ID == n.o.ID {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.ctx, time.Second)
			defer cancel()
			if b, err := n.o.Pool.Call(ctx, p.Addr, methodKnown, []byte(n.o.ID)); err == nil && len(b) == 1 && b[0] == 1 {
				known[i] = p.ID
			}
		})
	}
	wg.Wait()
	for _, id := range known {
		if id != "" {
			return fail("start cluster node", string(n.o.ID),
				errors.Join(errors.New("it has no log, but node "+string(id)+" knows it"), redoubt.ErrExists),
				"a node whose folder was lost comes back under a new id")
		}
	}
	return nil
}

// known answers askIfKnown of another node.
func (n *Node) known(_ context.Context, id []byte) ([]byte, error) {
	if _, ok := n.catalog.Node(redoubt.NodeID(id)); ok {
		return []byte{1}, nil
	}
	return []byte{0}, nil
}
