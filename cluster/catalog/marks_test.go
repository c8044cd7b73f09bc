package catalog

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func named(p redoubt.Position, name string, set redoubt.SetID) Bookmark {
	return Bookmark{Position: p, Time: int64(p.LSN), Bookmark: redoubt.Bookmark{Name: name, Set: set}}
}

func (m *machine) names(st redoubt.Stretch) (out []string) {
	c := &Catalog{s: m.s}
	for _, b := range c.Bookmarks("g", st, 100, nil) {
		out = append(out, b.Name)
	}
	return out
}

func TestBookmarksAreFoundByPosition(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.must(AddMarks{Group: "g", Marks: []Bookmark{named(at(1, 7), "c", redoubt.SetID{}), named(at(1, 3), "a", redoubt.SetID{})}})
	m.must(AddMarks{Group: "g", Marks: []Bookmark{named(at(1, 5), "b", redoubt.SetID{}), named(at(1, 7), "other", redoubt.SetID{})}})
	all := redoubt.Stretch{Epoch: 1, To: 100}
	if got := m.names(all); !reflect.DeepEqual(got, []string{"c", "b", "a"}) {
		t.Errorf("all: %v", got)
	}
	for st, want := range map[redoubt.Stretch]string{{Epoch: 1, From: 3, To: 7}: "[c b]", {Epoch: 1, From: 2, To: 6}: "[b a]",
		{Epoch: 1, From: 3, To: 4}: "[]", {Epoch: 2, To: 9}: "[]", {Epoch: 1, From: 7, To: 9}: "[]"} {
		if got := fmt.Sprint(m.names(st)); got != want {
			t.Errorf("%+v: %s, want %s", st, got, want)
		}
	}
	m.refused(AddMarks{Group: "g", Marks: []Bookmark{named(at(2, 1), "x", redoubt.SetID{})}}, redoubt.ErrInvalid)
	m.refused(AddMarks{Group: "none", Marks: []Bookmark{named(at(1, 1), "x", redoubt.SetID{})}}, redoubt.ErrNotFound)
	m.refused(AddMarks{Group: "g", Marks: []Bookmark{named(at(1, 1), "a b", redoubt.SetID{})}}, redoubt.ErrInvalid)
	m.s = reload(t, m.s)
	if got := m.names(all); len(got) != 3 {
		t.Errorf("after a snapshot: %v", got)
	}
}

// TestASetExistsAtOnceOrNotAtAll has bookmarks of two groups: nobody sees one
// before the set is committed.
func TestASetExistsAtOnceOrNotAtAll(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.protected("h")
	id, void := redoubt.SetID{1}, redoubt.SetID{2}
	m.must(AddMarks{Group: "g", Marks: []Bookmark{named(at(1, 6), "both", id), named(at(1, 7), "void", void), named(at(1, 8), "both", id)}})
	all := redoubt.Stretch{Epoch: 1, To: 100}
	if got := m.names(all); len(got) != 0 {
		t.Errorf("before the commit: %v", got)
	}
	set := Set{ID: id, Name: "both", Barrier: 5, Members: []SetMember{{"g", at(1, 6)}, {"h", at(1, 9)}}}
	m.must(CommitSet{set})
	m.must(CommitSet{set})
	// The bookmark of g at 8 claims a set that does not know it.
	if got := m.names(all); !reflect.DeepEqual(got, []string{"both"}) {
		t.Errorf("after the commit: %v", got)
	}
	m.must(AddMarks{Group: "h", Marks: []Bookmark{named(at(1, 9), "both", id)}})
	m.s = reload(t, m.s)
	c := &Catalog{s: m.s}
	if bs := c.Bookmarks("h", all, 9, nil); len(bs) != 1 || bs[0].Set != id {
		t.Errorf("the other group, told late: %+v", bs)
	}
	differs := set
	differs.Members = set.Members[:1]
	m.refused(CommitSet{differs}, redoubt.ErrExists)
	for _, ms := range [][]SetMember{nil, {{"h", at(1, 1)}, {"g", at(1, 1)}}, {{"g", at(1, 0)}}} {
		m.refused(CommitSet{Set{ID: void, Name: "x", Members: ms}}, redoubt.ErrInvalid)
	}
	m.refused(CommitSet{Set{ID: void, Name: "x", Members: []SetMember{{"g", at(2, 1)}}}}, redoubt.ErrFenced)
	m.refused(CommitSet{Set{ID: void, Name: "x", Members: []SetMember{{"none", at(1, 1)}}}}, redoubt.ErrNotFound)
}

// TestBookmarksAreBounded fills the table: the oldest lose their names.
func TestBookmarksAreBounded(t *testing.T) {
	m := newMachine(t, 3)
	g := m.protected("g")
	n := MaxBookmarks + 2*marksChunk
	for l := 0; l < n; l += marksChunk {
		c := AddMarks{Group: g.ID}
		for i := range marksChunk {
			c.Marks = append(c.Marks, named(at(1, redoubt.LSN(l+i+1)), "x", redoubt.SetID{}))
		}
		if _, err := c.apply(m.s); err != nil {
			t.Fatal(err)
		}
	}
	bs := m.s.marks[g.ID]
	if len(bs) != MaxBookmarks || bs[len(bs)-1].Position.LSN != redoubt.LSN(n) || bs[0].Position.LSN != redoubt.LSN(n-MaxBookmarks+1) {
		t.Errorf("%d bookmarks, from %v to %v", len(bs), bs[0].Position, bs[len(bs)-1].Position)
	}
	reload(t, m.s)
}

func TestChecksAreBounded(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	check := func(i int) PutCheck {
		return PutCheck{Group: "g", Check: Check{ID: fmt.Sprint("c", i), Position: at(1, 6), Time: int64(i), Script: "e2fsck", Node: "n1", Passed: i%2 == 0, RTO: 5, Receipt: []byte("{}")}}
	}
	for i := range MaxChecks + 3 {
		m.must(check(i))
		m.must(check(i))
	}
	m.s = reload(t, m.s)
	cs := (&Catalog{s: m.s}).Checks("g")
	if len(cs) != MaxChecks || cs[0].ID != "c3" || cs[0].Passed || !cs[1].Passed || string(cs[1].Receipt) != "{}" {
		t.Errorf("%d checks, the first %+v", len(cs), cs[0])
	}
	for _, f := range []func(c *Check){func(c *Check) { c.Receipt = nil }, func(c *Check) { c.Receipt = make([]byte, MaxReceipt+1) },
		func(c *Check) { c.Position.Epoch = 9 }, func(c *Check) { c.Script = "../x" }, func(c *Check) { c.RTO = -1 }} {
		c := check(99)
		f(&c.Check)
		if _, err := c.apply(m.s); c.check() == nil && err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
}

// Sets of a history that was deleted make room: else, once there are MaxSets of
// them, there could be no further set, ever.
func TestSetsOfADeletedHistoryAreForgotten(t *testing.T) {
	m := newMachine(t, 3)
	m.protected("g")
	m.protected("h")
	id := func(n int) redoubt.SetID { return redoubt.SetID{1, byte(n >> 8), byte(n)} }
	for i := range MaxSets {
		m.s.sets[id(i)] = &Set{ID: id(i), Name: "x", Members: []SetMember{{"g", redoubt.Position{Epoch: 1, LSN: redoubt.LSN(i + 1)}}}}
	}
	at := SetMember{"h", redoubt.Position{Epoch: 1, LSN: 9}}
	m.s.sets[id(7)].Members = append(m.s.sets[id(7)].Members, at)
	m.must(ForgetSets{}) // all of them have a point
	next := CommitSet{Set{ID: redoubt.SetID{2}, Name: "y", Members: []SetMember{at}}}
	m.refused(next, redoubt.ErrState)
	m.operate("g", OpUnprotect)
	m.operate("g", OpDeletePoints)
	m.refused(next, redoubt.ErrState)
	if !(&Catalog{s: m.s}).SetsFull() {
		t.Error("there is room")
	}
	m.must(ForgetSets{})
	m.must(next)
	if m.s = reload(t, m.s); len(m.s.sets) != 2 || m.s.sets[id(7)] == nil {
		t.Errorf("%d sets are left", len(m.s.sets))
	}
}
