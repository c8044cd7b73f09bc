package oracle

import (
	"fmt"
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// Placed is a change with its place in the order.
type Placed struct {
	Change
	Position redoubt.Position
}

// Changes returns the changes of an epoch with from < LSN <= to.
func (m *Model) Changes(e redoubt.Epoch, from, to redoubt.LSN) []Placed {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []Placed
	if ep := m.epochs[e]; ep != nil {
		for i, c := range ep.changes {
			if l := ep.lsn(i); l > from && l <= to {
				out = append(out, Placed{c, redoubt.Position{Epoch: e, LSN: l}})
			}
		}
	}
	return out
}

// CheckTime judges whether p can be "the last write not later than t" (Unix
// nanoseconds): every change answered before t must be in it, and none that
// was sent after t.
func (m *Model) CheckTime(p redoubt.Position, t int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ep := m.epochs[p.Epoch]
	if ep == nil {
		return fmt.Errorf("unknown epoch %d", p.Epoch)
	}
	for i, c := range ep.changes {
		l := ep.lsn(i)
		switch {
		case l == 0:
		case c.Acked != 0 && c.Acked < t && l > p.LSN:
			return fmt.Errorf("%s leaves out %d, answered %.3f s before the chosen time", p, l, float64(t-c.Acked)/1e9)
		case c.Sent > t && l <= p.LSN:
			return fmt.Errorf("%s has %d, sent %.3f s after the chosen time", p, l, float64(c.Sent-t)/1e9)
		}
	}
	return nil
}

// UniqueBytes returns how many different bytes the changes touch.
func UniqueBytes(cs []Placed) uint64 {
	byDisk := map[redoubt.DiskID][]redoubt.Extent{}
	for _, c := range cs {
		byDisk[c.Disk] = append(byDisk[c.Disk], c.Extent)
	}
	var total uint64
	for _, es := range byDisk {
		sort.Slice(es, func(i, j int) bool { return es[i].Off < es[j].Off })
		end := uint64(0)
		for _, e := range es {
			if e.End() > end {
				total += e.End() - max(e.Off, end)
				end = e.End()
			}
		}
	}
	return total
}
