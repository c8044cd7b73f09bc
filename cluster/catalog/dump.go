package catalog

import (
	"encoding/json"
	"errors"
)

// Dump writes the catalog, one JSON object per line; path tells in the first
// where it was read from.
func (p *Snapshot) Dump(out *json.Encoder, path string) error {
	s := p.s
	err := out.Encode(map[string]any{"snapshot": path, "index": s.index, "nodes": len(s.nodes), "groups": len(s.groups), "clients": len(s.clients)})
	for _, id := range s.nodeIDs() {
		err = errors.Join(err, out.Encode(map[string]any{"node": s.nodes[id]}))
	}
	c := &Catalog{s: s, changed: make(chan struct{})}
	for _, plan := range c.RecoveryPlans() {
		err = errors.Join(err, out.Encode(map[string]any{"recovery_plan": plan}))
	}
	for _, r := range c.Runs("") {
		err = errors.Join(err, out.Encode(map[string]any{"run": r}))
	}
	for _, g := range c.Groups() {
		err = errors.Join(err, out.Encode(map[string]any{"group": g}))
		if r, ok := s.retain[g.ID]; ok {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "retention": r}))
		}
		for _, k := range s.checks[g.ID] {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "check": k}))
		}
		if js, ok := s.jobs[g.ID]; ok {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "jobs": js}))
		}
		if st, ok := s.stands[g.ID]; ok {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "standing": st}))
		}
		if list := s.resized[g.ID]; len(list) > 0 {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "disk_events": list}))
		}
		if gaps := s.gaps[g.ID]; len(gaps) > 0 {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "gaps": gaps}))
		}
		for _, b := range s.marks[g.ID] {
			err = errors.Join(err, out.Encode(map[string]any{"group_id": g.ID, "bookmark": b}))
		}
		for _, f := range g.Lineage {
			for i := uint64(0); i < c.SegmentCount(g.ID, f.Epoch) && err == nil; i++ {
				err = out.Encode(map[string]any{"group_id": g.ID, "segment": c.Segments(g.ID, f.Epoch, i, 1)[0]})
			}
		}
	}
	for id, set := range s.sets {
		err = errors.Join(err, out.Encode(map[string]any{"set_id": id.String(), "set": set}))
	}
	return err
}
