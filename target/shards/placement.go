package shards

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// layoutSlots is after how many segments a layout repeats. It bounds the
// number of different node lists in the catalog.
const layoutSlots = 128

// spot is a node that shards can be placed on.
type spot struct {
	id     redoubt.NodeID
	domain string // what fails together with it; "": the node alone
}

// layout says which nodes the segments' shards go to: a pure function of the
// nodes, so that every owner makes the same.
type layout struct{ slots [][]redoubt.NodeID }

// newLayout spreads segments of so many shards, any parity of which may be
// lost, over the spots: no failure domain gets more than parity shards of a
// segment if that is possible, and every node gets the same number of shards as nearly as
// the domains allow. Data and parity rotate over a segment's nodes. There must be at least as many spots as shards.
func newLayout(spots []spot, shards, parity int) *layout {
	l := &layout{slots: make([][]redoubt.NodeID, layoutSlots)}
	limit := domainLimit(spots, shards, parity)
	given := map[redoubt.NodeID]int{}
	for slot := range l.slots {
		order := slices.Clone(spots)
		slices.SortFunc(order, func(a, b spot) int {
			return cmp.Or(cmp.Compare(given[a.id], given[b.id]), cmp.Compare(mix(slot, a.id), mix(slot, b.id)), cmp.Compare(a.id, b.id))
		})
		in := map[string]int{}
		var nodes []redoubt.NodeID
		for _, s := range order {
			if d := s.failsWith(); len(nodes) < shards && in[d] < limit {
				in[d]++
				given[s.id]++
				nodes = append(nodes, s.id)
			}
		}
		slices.Sort(nodes)
		turn := slot % len(nodes)
		l.slots[slot] = append(nodes[turn:len(nodes):len(nodes)], nodes[:turn]...)
	}
	return l
}

// domainLimit is the smallest number of shards in one domain, from parity on,
// with which all shards find a place.
func domainLimit(spots []spot, shards, parity int) int {
	size := map[string]int{}
	for _, s := range spots {
		size[s.failsWith()]++
	}
	for limit := max(1, parity); ; limit++ {
		room := 0
		for _, n := range size {
			room += min(n, limit)
		}
		if room >= shards || limit >= shards {
			return limit
		}
	}
}

func (s spot) failsWith() string {
	if s.domain == "" {
		return "node/" + string(s.id) // no label has a slash
	}
	return s.domain
}

// mix orders nodes differently in each slot, and alike everywhere.
func mix(slot int, id redoubt.NodeID) uint64 {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%d/%s", slot, id) // a hash takes everything
	return h.Sum64()
}

func (l *layout) at(ordinal uint64) []redoubt.NodeID { return l.slots[ordinal%layoutSlots] }

// layouts keeps the layouts in use: they change when nodes come, go or fail.
type layouts struct {
	mu sync.Mutex
	m  map[string]*layout
}

// maxLayouts bounds the memory for layouts: a few are in use at a time.
const maxLayouts = 64

func (c *layouts) get(spots []spot, shards, parity int) *layout {
	var key strings.Builder
	fmt.Fprint(&key, shards, parity, spots)
	c.mu.Lock()
	defer c.mu.Unlock()
	if l, ok := c.m[key.String()]; ok {
		return l
	}
	if c.m == nil || len(c.m) >= maxLayouts {
		c.m = map[string]*layout{}
	}
	l := newLayout(spots, shards, parity)
	c.m[key.String()] = l
	return l
}

// place chooses the nodes of a segment's shards among the active nodes that are
// up. It names nodes that are down, or whose log has failed, only if there are too
// few others: they get their shard by repair when they return.
func (c *layouts) place(nodes []catalog.NodeInfo, up func(redoubt.NodeID) bool, ordinal uint64, shards, parity int) ([]redoubt.NodeID, error) {
	var alive, dead []spot
	for _, n := range nodes {
		s := spot{n.ID, n.Domain}
		switch {
		case n.State != catalog.NodeActive:
		case up(n.ID):
			alive = append(alive, s)
		default:
			dead = append(dead, s)
		}
	}
	if len(alive)+len(dead) < shards {
		return nil, &redoubt.Error{Op: "place segment", Err: fmt.Errorf("%d shards need as many active nodes, there are %d: %w", shards, len(alive)+len(dead), redoubt.ErrUnavailable),
			Hint: "add a node: redoubt node add NAME"}
	}
	if len(alive) < shards {
		alive = append(alive, dead[:shards-len(alive)]...)
		slices.SortFunc(alive, func(a, b spot) int { return cmp.Compare(a.id, b.id) })
	}
	return c.get(alive, shards, parity).at(ordinal), nil
}
