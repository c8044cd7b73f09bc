package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// AddMarks names points of a group. The owner proposes it before the segment
// that holds the bookmarks, so no committed bookmark is unknown; a bookmark
// whose LSN is never committed is on no history and so never found. Repeated
// bookmarks change nothing. Result: nil.
type AddMarks struct {
	Group redoubt.GroupID
	Marks []Bookmark
}

func (c AddMarks) kind() kind { return kindAddMarks }

func (c AddMarks) encode(e *encoder) {
	e.str(string(c.Group))
	e.bookmarks(c.Marks)
}

func decodeAddMarks(d *decoder) Command {
	return AddMarks{Group: d.groupID(), Marks: d.bookmarks()}
}

func (c AddMarks) check() error {
	if len(c.Marks) == 0 || len(c.Marks) > marksChunk {
		return invalid("add bookmarks of group", string(c.Group), fmt.Sprintf("%d of them", len(c.Marks)))
	}
	for i := range c.Marks {
		if err := redoubt.ValidName("bookmark", c.Marks[i].Name); err != nil {
			return err
		}
	}
	return nil
}

func (c AddMarks) apply(s *state) (any, error) {
	const op = "add bookmarks of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	for i := range c.Marks {
		if p := c.Marks[i].Position; p.LSN == 0 || !known(g, p.Epoch) {
			return nil, invalid(op, string(g.ID), "position "+p.String())
		}
	}
	bs := s.marks[g.ID]
	for _, b := range c.Marks {
		at, there := findMark(bs, b.Position)
		if there {
			continue
		}
		// Never in place: a snapshot may be reading what is there.
		if at == len(bs) {
			bs = append(bs, b)
		} else {
			bs = slices.Insert(slices.Clone(bs), at, b)
		}
	}
	s.marks[g.ID] = s.withoutGone(g, bs)
	return nil, nil
}

func known(g *Group, e redoubt.Epoch) bool {
	_, ok := g.Lineage.Find(e)
	return ok
}

// marksSweep is how many bookmarks there are between two sweeps for those whose
// points retention has taken.
const marksSweep = 256

// withoutGone takes away, now and then, the bookmarks whose points are gone, and the oldest if
// there are too many.
func (s *state) withoutGone(g *Group, bs []Bookmark) []Bookmark {
	if len(bs)%marksSweep != 0 && len(bs) <= MaxBookmarks {
		return bs
	}
	r := s.retention(g.ID)
	var left []Bookmark
	for i := range bs {
		if r.Has(g.Written(bs[i].Position)) {
			left = append(left, bs[i])
		}
	}
	return left[max(0, len(left)-MaxBookmarks):]
}
