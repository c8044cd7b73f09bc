package catalog

import (
	"maps"
	"slices"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// Catalog is the node's own copy of what the cluster agreed on. It is read
// only and safe for concurrent use; it may lag behind the leader (see
// cluster.Node.Barrier). Returned values share slices with the catalog: do not change them.
type Catalog struct {
	mu      sync.RWMutex
	s       *state
	changed chan struct{}
}

// notify wakes those who wait for a change; the caller holds mu.
func (c *Catalog) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change. Fetch it before
// reading, so that no change is missed in between.
func (c *Catalog) Changed() <-chan struct{} {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.changed
}

// Index is the Raft index of the last change that this copy contains.
func (c *Catalog) Index() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.index
}

// Group returns the group with this ID.
func (c *Catalog) Group(id redoubt.GroupID) (Group, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if g, ok := c.s.groups[id]; ok {
		return *g, true
	}
	return Group{}, false
}

// Groups returns all groups, by ID.
func (c *Catalog) Groups() []Group {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]Group, 0, len(c.s.groups))
	for _, id := range slices.Sorted(maps.Keys(c.s.groups)) {
		out = append(out, *c.s.groups[id])
	}
	return out
}

// Node returns the node with this ID; it may be invited only, or removed.
func (c *Catalog) Node(id redoubt.NodeID) (NodeInfo, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	n, ok := c.s.nodes[id]
	return n, ok
}

// Nodes returns the members, by ID: nodes that have come and were not removed.
func (c *Catalog) Nodes() []NodeInfo {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]NodeInfo, 0, len(c.s.nodes))
	for _, id := range c.s.nodeIDs() {
		if n := c.s.nodes[id]; n.State.Member() {
			out = append(out, n)
		}
	}
	return out
}

// SegmentCount is the number of segments of the epoch: the next ordinal.
func (c *Catalog) SegmentCount(id redoubt.GroupID, e redoubt.Epoch) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.history(id, e).len()
}

// FirstLeft returns the first ordinal in [from, to) of the epoch of whose
// segment something is left, or to. Something is left of what is not committed
// yet, and of a group that is not there: no group ever goes, so this copy is
// behind, as after a start without a leader. Nothing is of one that is another one
// by its UUID.
// It costs the same for a thousand segments that are gone as for one.
func (c *Catalog) FirstLeft(id redoubt.GroupID, uuid string, e redoubt.Epoch, from, to uint64) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	switch g, ok := c.s.groups[id]; {
	case !ok:
		return from
	case g.UUID != uuid:
		return to
	}
	return c.s.history(id, e).firstLeft(from, to)
}

// Segments returns up to limit segments of the epoch, from the ordinal on.
func (c *Catalog) Segments(id redoubt.GroupID, e redoubt.Epoch, from uint64, limit int) []Segment {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h := c.s.history(id, e)
	n := h.len()
	if from >= n || limit <= 0 {
		return nil
	}
	end := from + min(uint64(limit), n-from)
	out := make([]Segment, 0, end-from)
	for i := from; i < end; i++ {
		out = append(out, c.s.segment(e, i, h.at(i)))
	}
	return out
}

// FindSegment returns the segment of the epoch that holds lsn.
func (c *Catalog) FindSegment(id redoubt.GroupID, e redoubt.Epoch, lsn redoubt.LSN) (Segment, bool) {
	return c.lookup(id, e, func(h *history) (uint64, bool) { return h.find(lsn) })
}

// FindTime returns the last segment of the epoch that begins at or before the
// Unix time in nanoseconds: it holds the largest LSN whose time is not later.
func (c *Catalog) FindTime(id redoubt.GroupID, e redoubt.Epoch, unixNano int64) (Segment, bool) {
	return c.lookup(id, e, func(h *history) (uint64, bool) { return h.findTime(unixNano) })
}

func (c *Catalog) lookup(id redoubt.GroupID, e redoubt.Epoch, find func(*history) (uint64, bool)) (Segment, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	h := c.s.history(id, e)
	i, ok := find(h)
	if !ok {
		return Segment{}, false
	}
	return c.s.segment(e, i, h.at(i)), true
}

// Head is the last committed LSN of an epoch, current or past: the one that
// its last segment ends with, or that the epoch was forked at.
func (c *Catalog) Head(id redoubt.GroupID, e redoubt.Epoch) (redoubt.LSN, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	g, ok := c.s.groups[id]
	if !ok {
		return 0, false
	}
	if h := c.s.history(id, e); h.len() > 0 {
		return h.at(h.len() - 1).last, true
	}
	f, ok := g.Lineage.Find(e)
	return f.At, ok
}
