package plan

import (
	"github.com/redoubt-dr/redoubt/internal/config"
)

// Parse reads a plan and checks everything that can be checked without
// looking at the sites. With a world, it is held against that, too. The error is of type
// config.Faults: all that is wrong, with line and column.
func Parse(b []byte, w *World) (*Plan, error) {
	p := &Plan{}
	err := config.Decode(b, p, func() config.Faults {
		k := &checker{p: p}
		k.plan()
		if w != nil {
			k.world(w)
		}
		return k.faults
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// Read is Parse for a plan that may have faults: it returns what could be read.
func Read(b []byte) (*Plan, error) {
	p := &Plan{}
	err := config.Decode(b, p, func() config.Faults { return nil })
	return p, err
}
