package history

import (
	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Branches returns the stretches of the group's history that are not on the way
// to its present, as far as there still are points on them.
func (h *History) Branches(id redoubt.GroupID) ([]redoubt.Stretch, error) {
	g, err := h.Group(id)
	if err != nil {
		return nil, err
	}
	r := h.o.Catalog.Retention(id)
	x := h.Reach(&g, &r)
	_, all := h.Lines(&g)
	var out []redoubt.Stretch
	for _, b := range all {
		if _, ok := x.First(b.Epoch, b.From+1, b.To); ok {
			out = append(out, b)
		}
	}
	return out, nil
}

// Gaps returns the stretches without points on the history that leads to the
// current state, the newest first.
func (h *History) Gaps(id redoubt.GroupID) ([]catalog.Gap, error) {
	g, err := h.Group(id)
	if err != nil {
		return nil, err
	}
	all := h.o.Catalog.Gaps(id)
	var out []catalog.Gap
	for _, st := range g.Lineage.Path(g.Committed) {
		for i := len(all) - 1; i >= 0; i-- {
			if all[i].Epoch == st.Epoch && all[i].After >= st.From && all[i].After <= st.To {
				out = append(out, all[i])
			}
		}
	}
	return out, nil
}
