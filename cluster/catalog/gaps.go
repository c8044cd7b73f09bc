package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// GapCause says why there is a gap. The numbers are part of the stored formats.
type GapCause uint8

// The causes of a Gap.
const (
	// GapOverflow: the source's journal was full, and it gave up what was not shipped.
	GapOverflow GapCause = 1
	// GapResync: the source's journal was lost; its disks are compared with the last point.
	GapResync GapCause = 2
)

// String returns the cause in words.
func (c GapCause) String() string {
	switch c {
	case GapOverflow:
		return "journal overflow"
	case GapResync:
		return "resynchronisation"
	}
	return fmt.Sprintf("cause-%d", uint8(c))
}

// Gap is a stretch of an epoch in which there is no recovery point: After < LSN
// < Whole. What is committed there is content that changed since After, in any
// order; with the write Whole it is complete, and becomes visible at once. The
// point After and all before it stay what they are.
//
// An epoch that begins inside a gap begins with a gap of its own.
type Gap struct {
	Epoch  redoubt.Epoch `json:"epoch"`
	After  redoubt.LSN   `json:"after"`           // the last point before it
	Whole  redoubt.LSN   `json:"whole,omitempty"` // the first point after it, which may not be committed yet; 0: not known yet
	Since  int64         `json:"since"`           // time of the write After, Unix nanoseconds
	Until  int64         `json:"until,omitempty"` // time of the segment that closed it; 0 while it is open
	Opened int64         `json:"opened"`          // when the secondary heard of it, Unix nanoseconds
	Cause  GapCause      `json:"cause"`
}

// Open reports whether the gap has no end yet.
func (g *Gap) Open() bool { return g.Whole == 0 }

// Hides reports whether p lies in the gap.
func (g *Gap) Hides(p redoubt.Position) bool {
	return p.Epoch == g.Epoch && p.LSN > g.After && (g.Open() || p.LSN < g.Whole)
}

// keptGaps is how many closed gaps of a group stay although every point around
// them is below the horizon of retention: they are of interest, and no more.
const keptGaps = 256

// GapAt returns the gap that hides p, a position on which something was written
// (see Group.Written).
func GapAt(gaps []Gap, p redoubt.Position) (Gap, bool) {
	for i := range gaps {
		if gaps[i].Hides(p) {
			return gaps[i], true
		}
	}
	return Gap{}, false
}

// Visible returns the newest position at or before the head of the path
// (Lineage.Path of a position, newest first) that no gap hides.
func Visible(gaps []Gap, path []redoubt.Stretch) (p redoubt.Position) {
	for _, st := range path {
		p = redoubt.Position{Epoch: st.Epoch, LSN: st.To}
		for gap, in := GapAt(gaps, p); in && p.LSN > st.From; gap, in = GapAt(gaps, p) {
			p.LSN = max(gap.After, st.From)
		}
		if p.LSN > st.From {
			return p
		}
	}
	return p
}

// Gaps returns the gaps of a group's history, by epoch and LSN.
func (c *Catalog) Gaps(id redoubt.GroupID) []Gap {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.gaps[id]
}

// OpenGapOf returns the gap of the epoch that has no end yet.
func (c *Catalog) OpenGapOf(id redoubt.GroupID, e redoubt.Epoch) (Gap, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	i := c.s.openGap(id, e)
	if i < 0 {
		return Gap{}, false
	}
	return c.s.gaps[id][i], true
}

// openGap returns the place of the epoch's open gap, or -1. It is the epoch's last one.
func (s *state) openGap(id redoubt.GroupID, e redoubt.Epoch) int {
	return slices.IndexFunc(s.gaps[id], func(g Gap) bool { return g.Epoch == e && g.Open() })
}

// hidden returns the gap in which p lies, if it lies in one.
func (s *state) hidden(g *Group, p redoubt.Position) (Gap, bool) {
	return GapAt(s.gaps[g.ID], g.Written(p))
}

// visible refuses a position that lies in a gap.
func (s *state) visible(op string, g *Group, p redoubt.Position) error {
	gap, in := s.hidden(g, p)
	if !in {
		return nil
	}
	return fail(op, string(g.ID), fmt.Errorf("point %s lies in a gap (%s): %w", p, gap.Cause, redoubt.ErrNotFound), gap.Hint())
}

// Hint names the points around the gap.
func (g *Gap) Hint() string {
	if g.Open() {
		return fmt.Sprintf("the last point before it is %d:%d; the next one comes when the secondary has caught up", g.Epoch, g.After)
	}
	return fmt.Sprintf("the points next to it are %d:%d and %d:%d", g.Epoch, g.After, g.Epoch, g.Whole)
}

// addGap puts a gap into the group's list. The list is never changed in place.
func (s *state) addGap(id redoubt.GroupID, gap Gap) {
	list := slices.DeleteFunc(slices.Clone(s.gaps[id]), func(old Gap) bool { return s.faded(id, &old) })
	at, _ := slices.BinarySearchFunc(list, gap, func(a, b Gap) int {
		return redoubt.Position{Epoch: a.Epoch, LSN: a.After}.Compare(redoubt.Position{Epoch: b.Epoch, LSN: b.After})
	})
	s.gaps[id] = slices.Insert(list, at, gap)
}

// faded reports whether a gap says nothing any more: retention names the single
// points that are left around it.
func (s *state) faded(id redoubt.GroupID, gap *Gap) bool {
	t := s.retention(id).Track(gap.Epoch)
	return len(s.gaps[id]) >= keptGaps && !gap.Open() && gap.Whole < t.Horizon
}

// closeGap ends the epoch's open gap, if it has one, with the segment sg, which
// completes the content: from its baseline on there are points again. While the
// first copy is under way there were none before either, and the gap goes.
func (s *state) closeGap(g *Group, sg *Segment) {
	i := s.openGap(g.ID, sg.Epoch)
	if i < 0 {
		return
	}
	list := slices.Clone(s.gaps[g.ID])
	if g.Baseline == 0 {
		list = slices.Delete(list, i, i+1)
	} else {
		list[i].Whole, list[i].Until = sg.Baseline, sg.LastTime
	}
	s.gaps[g.ID] = list
}

// inherit begins a gap in the epoch that forks at f, if it forks inside of one,
// and returns the state that g then has instead of next.
func (s *state) inherit(g *Group, f redoubt.Fork, next State) State {
	gap, in := s.hidden(g, redoubt.Position{Epoch: f.Parent, LSN: f.At})
	if !in {
		return next
	}
	s.addGap(g.ID, Gap{Epoch: f.Epoch, After: f.At, Since: gap.Since, Opened: gap.Opened, Cause: gap.Cause})
	if next == StateProtected {
		return StateResyncing
	}
	return next
}
