package redoubt

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// LSN is the number of a write in its group's order. The first write of a
// group has LSN 1; numbers have no gaps. Zero means "before the first write".
type LSN uint64

// String returns the decimal form that ParseLSN reads.
func (l LSN) String() string { return strconv.FormatUint(uint64(l), 10) }

// ParseLSN reads a decimal LSN.
func ParseLSN(s string) (LSN, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, &Error{Op: "parse LSN", Object: s, Hint: "an LSN is a decimal number, such as 4711", Err: ErrInvalid}
	}
	return LSN(v), nil
}

// Epoch is the number of a group's current writer. The first writer of a group
// has epoch 1; every failover, cancel and failback adds at least one.
type Epoch uint64

// String returns the decimal form.
func (e Epoch) String() string { return strconv.FormatUint(uint64(e), 10) }

// Position is a place in the history of a group: the state of all its disks
// after the write LSN of the epoch Epoch.
type Position struct {
	Epoch Epoch `json:"epoch"`
	LSN   LSN   `json:"lsn"`
}

// String returns "EPOCH:LSN", the form that ParsePosition reads.
func (p Position) String() string { return p.Epoch.String() + ":" + p.LSN.String() }

// IsZero reports whether p is the position before all history.
func (p Position) IsZero() bool { return p == Position{} }

// Compare orders positions by epoch, then by LSN: -1, 0 or +1. The order is
// meaningful along one Lineage only.
func (p Position) Compare(q Position) int {
	if c := cmp.Compare(p.Epoch, q.Epoch); c != 0 {
		return c
	}
	return cmp.Compare(p.LSN, q.LSN)
}

// ParsePosition reads "EPOCH:LSN".
func ParsePosition(s string) (Position, error) {
	e, l, ok := strings.Cut(s, ":")
	if ok {
		ev, err1 := strconv.ParseUint(e, 10, 64)
		lv, err2 := strconv.ParseUint(l, 10, 64)
		if err1 == nil && err2 == nil {
			return Position{Epoch(ev), LSN(lv)}, nil
		}
	}
	return Position{}, &Error{Op: "parse position", Object: s, Hint: "a position is EPOCH:LSN, such as 1:4711", Err: ErrInvalid}
}

// Fork says where an epoch begins: its first write has LSN At+1 and follows
// the state of the epoch Parent after its write At. The first epoch of a group
// has Parent 0 and At 0.
type Fork struct {
	Epoch  Epoch `json:"epoch"`
	Parent Epoch `json:"parent"`
	At     LSN   `json:"at"`
}

// Lineage is the tree of a group's epochs, in rising order of Epoch. The last
// element is the current epoch; epochs that are on no path to it are branches
// that were left behind by a failover to an earlier point.
type Lineage []Fork

// Find returns the fork that began epoch e.
func (l Lineage) Find(e Epoch) (Fork, bool) {
	for _, f := range l {
		if f.Epoch == e {
			return f, true
		}
	}
	return Fork{}, false
}

// Current returns the latest epoch, or 0 for an empty lineage.
func (l Lineage) Current() Epoch {
	if len(l) == 0 {
		return 0
	}
	return l[len(l)-1].Epoch
}

// Validate checks that epochs rise and that each parent is known.
func (l Lineage) Validate() error {
	for i, f := range l {
		switch {
		case i > 0 && f.Epoch <= l[i-1].Epoch:
			return &Error{Op: "check lineage", Object: f.Epoch.String(), Err: fmt.Errorf("epochs do not rise: %w", ErrInvalid)}
		case i == 0 && (f.Parent != 0 || f.At != 0 || f.Epoch == 0):
			return &Error{Op: "check lineage", Object: f.Epoch.String(), Err: fmt.Errorf("the first epoch has a parent: %w", ErrInvalid)}
		case i > 0:
			if _, ok := l[:i].Find(f.Parent); !ok {
				return &Error{Op: "check lineage", Object: f.Epoch.String(), Err: fmt.Errorf("unknown parent %d: %w", f.Parent, ErrInvalid)}
			}
		}
	}
	return nil
}

// Path returns the stretches of history that make up the state at p, newest
// first: each says that the writes of Epoch with From < LSN <= To belong to it.
// It returns nil if p's epoch is unknown or p lies before that epoch's fork.
func (l Lineage) Path(p Position) []Stretch {
	var out []Stretch
	e, to := p.Epoch, p.LSN
	for {
		f, ok := l.Find(e)
		if !ok || (to < f.At && len(out) == 0) {
			return nil
		}
		if to > f.At {
			out = append(out, Stretch{Epoch: e, From: f.At, To: to})
		}
		if f.Parent == 0 {
			if out == nil {
				out = []Stretch{{Epoch: e}}
			}
			return out
		}
		e, to = f.Parent, min(to, f.At)
	}
}

// Stretch is a contiguous piece of one epoch's history: From < LSN <= To.
type Stretch struct {
	Epoch    Epoch
	From, To LSN
}

// Contains reports whether p lies on the history that leads to the head of the
// current epoch, so that a holder of p needs nothing rolled back.
func (l Lineage) Contains(p Position) bool {
	at, ok := l.ForkFrom(p.Epoch)
	return ok && p.LSN <= at
}

// ForkFrom returns the last LSN of epoch e that the current epoch's history
// still contains: writes of e above it are an orphan tail. For the current
// epoch itself it returns the largest LSN. It reports false if e is not an
// ancestor of the current epoch.
func (l Lineage) ForkFrom(e Epoch) (LSN, bool) {
	at := ^LSN(0)
	for cur := l.Current(); cur != 0; {
		if cur == e {
			return at, true
		}
		f, ok := l.Find(cur)
		if !ok {
			return 0, false
		}
		cur, at = f.Parent, min(at, f.At)
	}
	return 0, false
}
