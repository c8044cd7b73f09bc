package systest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// A cleanup without an ID ends the group's test failovers wherever they are open.
func TestCleanupReachesOtherNodes(t *testing.T) {
	b := newBed(t)
	b.change(50)
	b.anchor()
	b.committed(b.head().LSN)
	first, last := b.site.Targets[0], b.site.Targets[2]
	here, there := &adminv1.TestFailoverResponse{}, &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, first, here, "failover", "test", groupName))
	b.must(b.site.Call(b.ctx, first, there, "failover", "test", groupName, "--node", last.Name))
	closed := &adminv1.CleanupTestResponse{}
	b.must(b.site.Call(b.ctx, first, closed, "failover", "cleanup", groupName))
	slices.Sort(closed.Ids)
	if want := []string{here.Export.Id, there.Export.Id}; !slices.Equal(closed.Ids, want) {
		t.Errorf("closed %v, want %v", closed.Ids, want)
	}
	left := &adminv1.ListExportsResponse{}
	b.must(b.site.Call(b.ctx, last, left, "export", "list", groupName))
	if len(left.Exports) > 0 {
		t.Errorf("left at %s: %v", last.Name, left.Exports)
	}
}

// When the node dies that has production, the others call that critical, and refuse
// what only that node can do with its name.
func TestProductionsNodeIsDead(t *testing.T) {
	b := newBed(t)
	b.change(50)
	b.anchor()
	b.committed(b.head().LSN)
	b.site.Source.Kill()
	prod, other := b.site.Targets[0], b.site.Targets[1]
	b.failover(prod, b.head())
	b.must(b.site.Call(b.ctx, other, nil, "failover", "commit", groupName))
	prod.Kill()
	b.wait(other, "the death to be critical", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		for _, r := range g.GetHealth().GetReasons() {
			if r.Code == "writer-down" && r.Level == "Critical" && strings.Contains(r.Text, prod.Name) {
				return nil
			}
		}
		return fmt.Errorf("health %v", g.GetHealth())
	})
	err := b.site.Call(b.ctx, other, nil, "reverse", groupName)
	if err == nil || !strings.Contains(err.Error(), `"reason":"unavailable"`) || !strings.Contains(err.Error(), "node "+prod.Name+" does not answer") {
		t.Errorf("reverse: %v", err)
	}
	b.must(prod.Start())
	b.wait(other, "the return to be noticed", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if slices.ContainsFunc(g.GetHealth().GetReasons(), func(r *adminv1.HealthReason) bool { return r.Code == "writer-down" }) {
			return errors.New("still down")
		}
		return nil
	})
}
