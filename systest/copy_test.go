package systest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// R5: no point is offered before the first copy is whole, and a copy that is
// interrupted by kill -9 of the source, or of the target that takes it, goes on.
func TestInitialCopySurvivesKills(t *testing.T) {
	b := &bed{T: t, ctx: t.Context()}
	dir, err := os.MkdirTemp("", "st")
	b.must(err)
	b.dir = dir
	t.Cleanup(func() { os.RemoveAll(dir) })
	img, base := filepath.Join(dir, "a"), filepath.Join(dir, "a.base")
	b.must(site.MakeRaw(img, int64(sized(512, 128))<<20, uint64(time.Now().UnixNano())))
	b.must(site.CopyFile(b.ctx, img, base))
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: dir, Group: groupName, Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	kills := 0
	for last := uint64(0); ; {
		var c *adminv1.CopyProgress
		b.wait(b.site.Source, "the copy to get on", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			c = g.GetCopy()
			if !c.GetComplete() && c.GetDoneBytes() <= last {
				return fmt.Errorf("copied %d of %d", c.GetDoneBytes(), c.GetTotalBytes())
			}
			return nil
		})
		if c.Complete {
			break
		}
		// A point that is offered already is whole.
		if b.openWhole(base) == nil {
			t.Logf("the point came before the source knew")
		}
		if kills++; kills > 4 {
			continue
		}
		last = c.DoneBytes
		victim := b.site.Source
		if kills%2 == 0 {
			_, g, err := b.site.Status(b.ctx, b.site.Targets[1])
			b.must(err)
			victim, err = b.site.Node(g.Owner)
			b.must(err)
		}
		victim.Kill()
		b.must(victim.Start())
		if victim == b.site.Source {
			last = 0 // what is not saved yet is announced again
		}
	}
	if kills == 0 {
		t.Skip("the copy was over before the first kill")
	}
	t.Logf("killed %d times", min(kills, 4))
	b.must(b.openWhole(base))
}

// openWhole opens the latest point, if there is one, and compares it with base.
func (b *bed) openWhole(base string) error {
	b.Helper()
	r := &adminv1.TestFailoverResponse{}
	if err := b.site.Call(b.ctx, b.site.Targets[2], r, "failover", "test", groupName); err != nil {
		return err
	}
	x := disk(b.T, r.Export.Disks, "a")
	tool(b, "qemu-img", "compare", "-f", "raw", "-F", "raw", "nbd:unix:"+x.Socket+":exportname="+x.Export, base)
	return b.site.Call(b.ctx, b.site.Targets[2], nil, "failover", "cleanup", groupName, r.Export.Id)
}
