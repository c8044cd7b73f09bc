package plan

import (
	"fmt"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
)

// Parse reads a plan and checks everything that can be checked without
// looking at the sites. With a world, it is held against that, too. The error is of type
// config.Faults: all that is wrong, with line and column.
func Parse(b []byte, w *World) (*Plan, error) {
	p := &Plan{}
	err := decode(b, p, func() config.Faults {
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
	err := decode(b, p, func() config.Faults { return nil })
	return p, err
}

// decode refuses what the catalog would not take before it is looked at.
func decode(b []byte, p *Plan, check func() config.Faults) error {
	if len(b) > catalog.MaxPlanText {
		return config.Faults{{Message: fmt.Sprintf("a plan of %d bytes; at most %d", len(b), catalog.MaxPlanText)}}
	}
	return config.Decode(b, p, check)
}
