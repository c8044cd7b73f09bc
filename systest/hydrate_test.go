package systest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// A point is copied to its node while it is used; kill -9 in the middle costs
// nothing that was durable, and in the end the other nodes are not needed. All
// reads along the way are the model's.
func TestHydrationSurvivesKill(t *testing.T) {
	b := newBed(t)
	b.change(200)
	p := b.head()
	b.committed(p.LSN)
	n := b.site.Targets[0]
	b.must(n.Stop(time.Minute))
	slowHydration(b, n)
	b.must(n.Start())
	b.whole(n)

	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", p.String(), "--hydrate"))
	b.judge(r.Export.Disks, p)
	before := b.hydration(n)
	if before.GetComplete() {
		t.Fatal("it was complete at once: the kill is not in the middle")
	}
	n.Kill()
	b.must(n.Start())
	x := b.hydrated(n, "the export again", func(*adminv1.Hydration) bool { return true })
	b.judge(x.Disks, p)
	x = b.hydrated(n, "all of it at the node", (*adminv1.Hydration).GetComplete)
	for _, other := range b.site.Targets[1:] {
		other.Kill()
	}
	b.judge(x.Disks, p)
}

// slowHydration lets a copy take some seconds.
func slowHydration(b *bed, n *site.Node) {
	conf, err := os.ReadFile(n.Config())
	b.must(err)
	b.must(os.WriteFile(n.Config(), []byte(strings.Replace(string(conf), "target:\n", "target:\n  hydrate_rate: 4MiB\n", 1)), 0o600))
}

func (b *bed) hydration(n *site.Node) *adminv1.Hydration {
	b.Helper()
	r := &adminv1.ListExportsResponse{}
	b.must(b.site.Call(b.ctx, n, r, "export", "list", groupName))
	if len(r.Exports) != 1 || r.Exports[0].Hydration == nil {
		b.Fatalf("no hydration in %v", r.Exports)
	}
	return r.Exports[0].Hydration
}

// hydrated waits until the one export of n is so far.
func (b *bed) hydrated(n *site.Node, what string, ok func(*adminv1.Hydration) bool) *adminv1.Export {
	b.Helper()
	var x *adminv1.Export
	b.wait(n, what, func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		r := &adminv1.ListExportsResponse{}
		if err := b.site.Call(b.ctx, n, r, "export", "list", groupName); err != nil {
			return err
		}
		if len(r.Exports) != 1 || !ok(r.Exports[0].GetHydration()) {
			return fmt.Errorf("exports: %v", r.Exports)
		}
		x = r.Exports[0]
		return nil
	})
	return x
}

// A point in a file is the point, with a node gone, too; a name that is taken
// is left alone, and a node that dies leaves no file.
func TestExportToFile(t *testing.T) {
	b := newBed(t)
	b.change(200)
	early := b.head()
	b.committed(early.LSN)
	b.change(100)
	b.committed(b.head().LSN)
	n := b.site.Targets[0]
	export := func(out, disk, format string, more ...string) error {
		args := []string{"export", "--to", out, groupName + "/" + disk, "--at", early.String(), "--format", format}
		return b.site.Call(b.ctx, n, nil, append(args, more...)...)
	}
	check := func() {
		b.must(b.state.Seek(early))
		for _, d := range b.disks {
			for _, format := range []string{"raw", "sparse"} {
				out := filepath.Join(b.dir, d.Name+"."+format)
				b.must(export(out, d.Name, format))
				if err := b.state.Judge(d.ID, out); err != nil {
					t.Fatalf("%s as %s: %v", d.Name, format, err)
				}
				if err := export(out, d.Name, format); err == nil {
					t.Fatal("a file that exists was replaced without --force")
				}
				b.must(os.Remove(out))
			}
		}
	}
	check()
	b.site.Targets[1].Kill()
	check()
	b.site.Targets[2].Kill()
	out := filepath.Join(b.dir, "none")
	if err := export(out, "a", "raw", "--timeout", "5s"); err == nil {
		t.Fatal("a point that cannot be read was exported")
	}
	left, err := filepath.Glob(out + "*")
	b.must(err)
	if left != nil {
		t.Fatalf("a failed export left %q", left)
	}
}
