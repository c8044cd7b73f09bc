package systest

import (
	"slices"
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
