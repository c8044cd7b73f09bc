package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// Fault is one thing that is wrong with a configuration.
type Fault struct {
	Line, Column int    // where it stands in the file, from 1; 0 if the key is missing
	Key          string // such as source.groups[0].journal.max
	Message      string
	Hint         string // may be empty
}

// String returns "LINE:COLUMN: KEY: MESSAGE (HINT)".
func (f Fault) String() string {
	var b strings.Builder
	if f.Line > 0 {
		fmt.Fprintf(&b, "%d:%d: ", f.Line, f.Column)
	}
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Message)
	if f.Hint != "" {
		b.WriteString(" (" + f.Hint + ")")
	}
	return b.String()
}

// Faults are all the faults of a configuration, in the order of the file. As
// an error it wraps redoubt.ErrInvalid.
type Faults []Fault

// Error returns one fault a line.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.String()
	}
	if len(lines) == 1 {
		return lines[0]
	}
	return fmt.Sprintf("%d faults\n  %s", len(fs), strings.Join(lines, "\n  "))
}

// Unwrap returns redoubt.ErrInvalid.
func (fs Faults) Unwrap() error { return redoubt.ErrInvalid }

func (fs Faults) sorted() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return fs
}
