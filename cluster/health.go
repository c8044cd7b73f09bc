package cluster

import (
	"context"
	"encoding/binary"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
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

// applied is the last command that the node said to have in its catalog.
func (h *health) applied(id redoubt.NodeID) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.peer(id).applied
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
	if role, applied, ok := readPong(pong); ok {
		c.last, c.role, c.applied = h.now(), role, applied
	}
}

// maxRole bounds the name of a role in a pong, in bytes.
const maxRole = 64

// pong is this node's answer to a ping.
func (n *Node) pong() []byte { return writePong(n.raft.State().String(), n.catalog.Index()) }

// writePong encodes a role, with its length as a varint in front, and the index
// of the catalog, 8 bytes, big endian.
func writePong(role string, applied uint64) []byte {
	b := append(binary.AppendUvarint(nil, uint64(len(role))), role...)
	return binary.BigEndian.AppendUint64(b, applied)
}

// readPong reads what writePong wrote; not ok if it is anything else.
func readPong(b []byte) (role string, applied uint64, ok bool) {
	size, n := binary.Uvarint(b)
	if n != 1 || size > maxRole || uint64(len(b)) != 1+size+8 {
		return "", 0, false
	}
	return string(b[1 : 1+size]), binary.BigEndian.Uint64(b[1+size:]), true
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

func (n *Node) ping(p catalog.NodeInfo) {
	ctx, cancel := context.WithTimeout(n.ctx, max(time.Second, n.o.Timeouts.Ping))
	defer cancel()
	b, err := n.o.Pool.Call(ctx, p.Addr, methodPing)
	if err != nil {
		b = nil
	}
	n.health.heard(p.ID, b)
}

// steady is Alive without haste: work is given to and taken from a node by it,
// so a short silence does not count.
func (n *Node) steady(id redoubt.NodeID) bool {
	return id == n.o.ID || n.health.silent(id) < n.o.Timeouts.Owner
}

// Alive reports whether the node answered lately: within four pings, and
// always for the node itself. Any node may ask.
func (n *Node) Alive(id redoubt.NodeID) bool {
	return id == n.o.ID || n.health.silent(id) < 4*n.o.Timeouts.Ping+time.Second/2
}
