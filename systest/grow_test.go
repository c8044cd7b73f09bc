package systest

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// A disk grows while it is used: points of before keep their size, points of
// after have the new one, over kills, a failover and the way back.
func TestDiskGrows(t *testing.T) {
	b := newBed(t)
	src, tgt := b.site.Source, b.site.Targets[0]
	b.change(100)
	old := b.safe()
	const larger = 40 << 20
	path := b.dir + "/a"

	fails := func(want string, args ...string) {
		b.Helper()
		if err := b.site.Call(b.ctx, src, nil, append([]string{"disk", "grow", groupName}, args...)...); err == nil || !strings.Contains(err.Error(), want) {
			b.Errorf("grow %v: %v", args, err)
		}
	}
	fails("does not shrink", "a", "--size", "16MiB")
	fails("enlarge the image", "a", "--size", "40MiB")
	fails("not_found", "c")
	if err := b.site.Call(b.ctx, tgt, nil, "disk", "grow", groupName, "a"); err == nil {
		b.Error("a target grew a disk")
	}
	b.must(os.Truncate(path, larger))
	stop := b.scribble()
	r := &adminv1.GrowDiskResponse{}
	b.must(b.site.Call(b.ctx, src, r, "disk", "grow", groupName, "a"))
	if r.Before != 24<<20 || r.After != larger {
		t.Errorf("grew from %d to %d", r.Before, r.After)
	}
	b.must(stop())
	tail := bytes.Repeat([]byte("tail"), 1024)
	b.put(b.source("a"), tail, larger-4096)
	src.Kill()
	b.must(src.Start())
	b.inStateAt(src, "Protected")
	b.equalSites(tgt)
	b.judgePoint(tgt, old) // with its old size: the model knows no other
	if d := b.source("a"); d.Size != larger {
		t.Errorf("after a restart the disk has %d bytes", d.Size)
	}
	before := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, tgt, before, "failover", "test", groupName, "--at", old.String()))
	if d := disk(t, before.Export.Disks, "a"); d.Size != 24<<20 {
		t.Errorf("a point of before has a disk of %d bytes", d.Size)
	}
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "cleanup", groupName))

	// Over to the secondary, where the new part is written, and back.
	fo := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, tgt, fo, "failover", "unplanned", groupName))
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "commit", groupName))
	there := disk(t, fo.Export.Disks, "a")
	if there.Size != larger {
		t.Fatalf("failed over with %d bytes", there.Size)
	}
	b.put(there, bytes.Repeat([]byte("over"), 1024), 30<<20)
	b.inStateAt(src, "Fenced")
	fails("not the group's writer", "a")
	b.must(b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"))
	b.must(b.site.Call(b.ctx, tgt, nil, "failback", groupName))
	b.inStateAt(src, "Protected")
	b.put(b.source("a"), tail, larger-8192)
	b.equalSites(tgt)

	// It grows again, and production goes to a point of before that: the source is
	// larger than the history then, and says so when it is back.
	g := b.inStateAt(src, "Protected")
	mark := redoubt.Position{Epoch: redoubt.Epoch(g.Epoch), LSN: redoubt.LSN(g.Head.Lsn)}
	const largest = 44 << 20
	b.must(os.Truncate(path, largest))
	b.must(b.site.Call(b.ctx, src, r, "disk", "grow", groupName, "a", "--size", "44MiB"))
	b.put(b.source("a"), tail, largest-4096)
	b.equalSites(tgt)
	b.must(b.site.Call(b.ctx, tgt, fo, "failover", "unplanned", groupName, "--at", mark.String()))
	if d := disk(t, fo.Export.Disks, "a"); d.Size != larger {
		t.Errorf("at %s the disk has %d bytes", mark, d.Size)
	}
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "commit", groupName))
	b.inStateAt(src, "Fenced")
	b.must(b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"))
	b.must(b.site.Call(b.ctx, tgt, nil, "failback", groupName))
	b.inStateAt(src, "Protected")
	b.put(b.source("a"), tail, largest-8192)
	b.wait(tgt, "the size at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		for _, d := range g.GetDisks() {
			if d.Name == "a" && d.Size == largest {
				return nil
			}
		}
		return fmt.Errorf("disks %v", g.GetDisks())
	})
	b.equalSites(tgt)
}

func (b *bed) source(name string) *adminv1.Disk {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	return disk(b.T, g.Disks, name)
}

// put writes p durably to a disk.
func (b *bed) put(x *adminv1.Disk, p []byte, off uint64) {
	b.Helper()
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	b.must(c.Write(p, off, true))
	b.must(c.Close())
}
