package catalog

import (
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Binding says which journal of a group's source belongs to the history that is
// stored. A source that comes with another one has lost what was not shipped,
// and numbers its writes anew: it must be compared by hashes.
type Binding struct {
	Journal string `json:"journal"`         // name of the journal; "": that of the next hello
	Lost    string `json:"lost,omitempty"`  // why a resynchronisation is needed; "": it is not
	Since   int64  `json:"since,omitempty"` // when that was found, Unix nanoseconds
}

// Binding returns what is known of the journal of a group's source.
func (c *Catalog) Binding(id redoubt.GroupID) Binding {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.bindings[id]
}

// unbind lets the next journal that the source comes with be the right one: it
// was made by what the secondary has sent.
func (s *state) unbind(id redoubt.GroupID) { delete(s.bindings, id) }

func (e *encoder) binding(b Binding) {
	e.str(b.Journal)
	e.str(b.Lost)
	e.i64(b.Since)
}

func (d *decoder) binding() Binding {
	return Binding{Journal: d.str(maxName, "journal"), Lost: d.str(maxText, "reason"), Since: d.i64()}
}

func (w *snapshotWriter) bindings(s *state) {
	for _, id := range slices.Sorted(maps.Keys(s.bindings)) {
		w.record(recBinding, func(e *encoder) { e.str(string(id)); e.binding(s.bindings[id]) })
	}
}

func (s *state) loadBinding(d *decoder) {
	id := d.groupID()
	if _, twice := s.bindings[id]; twice || s.groups[id] == nil {
		d.bad("journal of an unknown group")
	}
	s.bindings[id] = d.binding()
}
