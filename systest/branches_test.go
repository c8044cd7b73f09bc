package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// branchHolds holds the orphan tail of the source's epoch against the model: it
// is listed, opens with the right content, comes as a file, and can be dropped.
func (c *cycle) branchHolds(n *site.Node, fork redoubt.Position, lost int) {
	c.Helper()
	id := fmt.Sprintf("%d-after-%d", c.epoch, fork.LSN)
	b := c.branch(n, id)
	if lost == 0 {
		if b != nil {
			c.Fatalf("nothing was lost, and there is a branch %v", b)
		}
		return
	}
	end := c.head()
	if b == nil || redoubt.LSN(b.HeadLsn) != end.LSN || redoubt.LSN(b.AfterLsn) < fork.LSN || b.Records != b.HeadLsn-b.AfterLsn {
		c.Fatalf("branch %s is listed as %v, want one up to %s", id, b, end)
	}
	r := &adminv1.TestFailoverResponse{}
	c.must(c.site.Call(c.ctx, n, r, "failover", "test", groupName, "--branch", id))
	c.judge(r.Export.Disks, end)
	c.must(c.site.Call(c.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
	if c.rng.IntN(3) > 0 {
		return
	}
	c.branchAsFile(n, id, end)
	c.must(c.site.Call(c.ctx, n, nil, "branch", "drop", groupName, id))
	if b := c.branch(n, id); b != nil {
		c.Fatalf("the branch was dropped and is listed: %v", b)
	}
	if err := c.site.Call(c.ctx, n, nil, "failover", "test", groupName, "--branch", id); err == nil {
		c.Fatal("the branch was dropped and opens")
	}
}

// branch returns what a node says of a branch, nil if it is not listed.
func (c *cycle) branch(n *site.Node, id string) *adminv1.Branch {
	c.Helper()
	r := &adminv1.ListBranchesResponse{}
	c.must(c.site.Call(c.ctx, n, r, "branch", "list", groupName))
	if r.SourceError != "" {
		c.Fatalf("branches: %s", r.SourceError)
	}
	i := slices.IndexFunc(r.Branches, func(b *adminv1.Branch) bool { return b.Id == id })
	if i < 0 {
		return nil
	}
	return r.Branches[i]
}

// branchAsFile writes each disk of a branch into a file and judges it.
func (c *cycle) branchAsFile(n *site.Node, id string, end redoubt.Position) {
	c.Helper()
	c.must(c.state.Seek(end))
	for _, d := range c.disks {
		file := filepath.Join(c.dir, "branch")
		c.must(c.site.Call(c.ctx, n, nil, "export", "--to", file, groupName+"/"+d.Name, "--branch", id))
		c.must(errors.Join(c.state.Judge(d.ID, file), os.Remove(file)))
	}
}
