package catalog

import (
	"bytes"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// What a record of type recNamed holds.
const (
	namedMarks = 1 // bookmarks of one group, in order
	namedSet   = 2
	namedCheck = 3
)

const (
	markApp = 1
	markSet = 2
)

func (e *encoder) bookmarks(bs []Bookmark) {
	e.uvar(uint64(len(bs)))
	for i := range bs {
		b := &bs[i]
		e.pos(b.Position)
		e.i64(b.Time)
		e.str(b.Name)
		flags := uint8(0)
		if b.App {
			flags |= markApp
		}
		if !b.Set.IsZero() {
			flags |= markSet
		}
		e.u8(flags)
		if flags&markSet != 0 {
			e.b = append(e.b, b.Set[:]...)
		}
	}
}

func (d *decoder) bookmarks() (out []Bookmark) {
	for range d.count(marksChunk, "number of bookmarks") {
		b := Bookmark{Position: d.pos(), Time: d.i64()}
		b.Name = d.str(maxName, "bookmark")
		flags := d.u8()
		if flags&^(markApp|markSet) != 0 {
			d.bad("bad flags of a bookmark")
		}
		b.App = flags&markApp != 0
		if flags&markSet != 0 {
			if b.Set = d.setID(); b.Set.IsZero() {
				d.bad("bad set of a bookmark")
			}
		}
		if d.err != nil {
			return nil
		}
		out = append(out, b)
	}
	return out
}

func (d *decoder) setID() (id redoubt.SetID) {
	copy(id[:], d.take(len(id)))
	return id
}

func (e *encoder) set(s *Set) {
	e.b = append(e.b, s.ID[:]...)
	e.str(s.Name)
	e.i64(s.Time)
	e.i64(s.Barrier)
	e.uvar(uint64(len(s.Members)))
	for _, m := range s.Members {
		e.str(string(m.Group))
		e.pos(m.Position)
	}
}

func (d *decoder) set() Set {
	s := Set{ID: d.setID(), Name: d.str(maxName, "bookmark"), Time: d.i64(), Barrier: d.i64()}
	for range d.count(MaxMembers, "number of groups") {
		s.Members = append(s.Members, SetMember{Group: d.groupID(), Position: d.pos()})
	}
	return s
}

// named writes what is said about points.
func (w *snapshotWriter) named(s *state) {
	for _, id := range slices.Sorted(maps.Keys(s.marks)) {
		for part := range slices.Chunk(s.marks[id], marksChunk) {
			w.record(recNamed, func(e *encoder) { e.u8(namedMarks); e.str(string(id)); e.bookmarks(part) })
		}
	}
	for _, id := range slices.SortedFunc(maps.Keys(s.sets), func(a, b redoubt.SetID) int { return bytes.Compare(a[:], b[:]) }) {
		w.record(recNamed, func(e *encoder) { e.u8(namedSet); e.set(s.sets[id]) })
	}
	for _, id := range slices.Sorted(maps.Keys(s.checks)) {
		for i := range s.checks[id] {
			w.record(recNamed, func(e *encoder) { e.u8(namedCheck); e.str(string(id)); e.check(&s.checks[id][i]) })
		}
	}
}

func (s *state) loadNamed(d *decoder) {
	switch d.u8() {
	case namedMarks:
		s.loadMarks(d)
	case namedCheck:
		s.loadCheck(d)
	case namedSet:
		set := d.set()
		if _, twice := s.sets[set.ID]; twice || len(s.sets) >= MaxSets || d.err == nil && (CommitSet{set}).check() != nil {
			d.bad("bad set of bookmarks")
		}
		s.sets[set.ID] = &set
	default:
		d.bad("unknown kind of record 88")
	}
}

func (s *state) loadMarks(d *decoder) {
	id := d.groupID()
	bs := s.marks[id]
	for _, b := range d.bookmarks() {
		if n := len(bs); n >= MaxBookmarks || n > 0 && bs[n-1].Position.Compare(b.Position) >= 0 || redoubt.ValidName("bookmark", b.Name) != nil {
			d.bad("bookmarks that do not rise")
			return
		}
		bs = append(bs, b)
	}
	if s.groups[id] == nil {
		d.bad("bookmarks of an unknown group")
	}
	s.marks[id] = bs
}
