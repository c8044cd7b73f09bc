package redoubt

import (
	"errors"
	"reflect"
	"testing"
)

// lineage of a group that failed over from 1:500 to epoch 2, changed its point
// to 1:300 (epoch 3), ran to 3:450 and failed back (epoch 4).
var lineage = Lineage{{1, 0, 0}, {2, 1, 500}, {3, 1, 300}, {4, 3, 450}}

func TestParsePosition(t *testing.T) {
	for _, p := range []Position{{}, {1, 2}, {^Epoch(0), ^LSN(0)}} {
		if got, err := ParsePosition(p.String()); err != nil || got != p {
			t.Errorf("ParsePosition(%q) = %v, %v", p, got, err)
		}
	}
	for _, s := range []string{"", "1", ":", "1:", ":1", "1:2:3", "-1:2", "1:x", "1:18446744073709551616"} {
		if _, err := ParsePosition(s); !errors.Is(err, ErrInvalid) || Hint(err) == "" {
			t.Errorf("ParsePosition(%q) = %v, want ErrInvalid with a hint", s, err)
		}
	}
}

func TestLineagePath(t *testing.T) {
	for _, c := range []struct {
		at   Position
		want []Stretch
	}{
		{Position{1, 700}, []Stretch{{1, 0, 700}}},
		{Position{1, 0}, []Stretch{{1, 0, 0}}},
		{Position{2, 510}, []Stretch{{2, 500, 510}, {1, 0, 500}}},
		{Position{3, 300}, []Stretch{{1, 0, 300}}},
		{Position{4, 460}, []Stretch{{4, 450, 460}, {3, 300, 450}, {1, 0, 300}}},
		{Position{4, 449}, nil},
		{Position{5, 1}, nil},
	} {
		if got := lineage.Path(c.at); !reflect.DeepEqual(got, c.want) {
			t.Errorf("Path(%v) = %v, want %v", c.at, got, c.want)
		}
	}
}

func TestLineageForkFrom(t *testing.T) {
	for _, c := range []struct {
		epoch Epoch
		at    LSN
		ok    bool
	}{{1, 300, true}, {2, 0, false}, {3, 450, true}, {4, ^LSN(0), true}, {9, 0, false}} {
		if at, ok := lineage.ForkFrom(c.epoch); at != c.at || ok != c.ok {
			t.Errorf("ForkFrom(%d) = %d, %v, want %d, %v", c.epoch, at, ok, c.at, c.ok)
		}
	}
	if lineage.Contains(Position{1, 301}) || !lineage.Contains(Position{1, 300}) || lineage.Contains(Position{2, 501}) {
		t.Error("Contains does not follow the current epoch's path")
	}
}

func TestLineageValidate(t *testing.T) {
	if err := lineage.Validate(); err != nil {
		t.Fatal(err)
	}
	for _, l := range []Lineage{
		{{1, 1, 0}}, {{1, 0, 5}}, {{0, 0, 0}}, {{1, 0, 0}, {1, 1, 3}}, {{1, 0, 0}, {3, 2, 3}},
	} {
		if err := l.Validate(); !errors.Is(err, ErrInvalid) {
			t.Errorf("Validate(%v) = %v, want ErrInvalid", l, err)
		}
	}
}

func TestExtent(t *testing.T) {
	const size = 100
	for _, c := range []struct {
		e    Extent
		want bool
	}{{Extent{0, 100}, true}, {Extent{100, 0}, true}, {Extent{99, 2}, false}, {Extent{1, ^uint64(0)}, false}, {Extent{101, 0}, false}} {
		if c.e.Within(size) != c.want {
			t.Errorf("%v.Within(%d) = %v", c.e, size, !c.want)
		}
	}
	if got := (Extent{10, 10}).Intersect(Extent{15, 10}); got != (Extent{15, 5}) {
		t.Errorf("Intersect = %v", got)
	}
	if got := (Extent{10, 10}).Intersect(Extent{20, 10}); !got.Empty() {
		t.Errorf("Intersect of neighbours = %v", got)
	}
}

func TestValidName(t *testing.T) {
	for s, ok := range map[string]bool{"db": true, "a.b-c_D9": true, "": false, ".": false, "..": false, "a/b": false, "ä": false,
		"0123456789012345678901234567890123456789012345678901234567890123":  true,
		"01234567890123456789012345678901234567890123456789012345678901234": false} {
		if err := ValidName("group", s); (err == nil) != ok {
			t.Errorf("ValidName(%q) = %v", s, err)
		}
	}
}

func TestHintIsFoundBelowOtherErrors(t *testing.T) {
	inner := &Error{Op: "open", Object: "x", Hint: "make x", Err: ErrNotFound}
	outer := &Error{Op: "start", Err: inner}
	if Hint(outer) != "make x" || !errors.Is(outer, ErrNotFound) || outer.Error() != "start: open x: not found" {
		t.Errorf("%v / %q", outer, Hint(outer))
	}
}
