package systest

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// Failback to new empty disks: of the old host, whose journal is still there
// and must not be taken for all that differs; and of a host that is new but for
// its name and its configuration, at another address. What comes home is whole.
func TestWayBackToANewDisk(t *testing.T) {
	nothing := func(*bed) {}
	t.Run("disks", func(t *testing.T) { newDisk(t, nothing, nothing) })
	t.Run("host", func(t *testing.T) {
		newDisk(t, func(b *bed) {
			b.must(os.RemoveAll(filepath.Join(b.site.Source.Dir, "data")))
			was := "127.0.0.1:" + port(b)
			b.reconfigure(was, "127.0.0.2:"+port(b)) // listen
			b.reconfigure(was, "127.0.0.2:"+port(b)) // advertise
		}, func(b *bed) { b.must(os.RemoveAll(b.groupDir())) })
	})
}

// port is that of the source's address.
func port(b *bed) string {
	b.Helper()
	text, err := os.ReadFile(b.site.Source.Config())
	b.must(err)
	for line := range strings.SplitSeq(string(text), "\n") {
		if rest, ok := strings.CutPrefix(line, "advertise: "); ok {
			return strings.Trim(rest[strings.LastIndex(rest, ":")+1:], `"`)
		}
	}
	b.Fatalf("no advertise in %s", text)
	return ""
}

// newDisk fails over, comes back to empty disks, and loses one of these again
// while it follows. lose is what else is lost with the first ones, again with
// the last one.
func newDisk(t *testing.T, lose, again func(b *bed)) {
	b := newBed(t)
	b.settled()
	b.killUnderLoad(50)
	b.emptyDisks(b.disks)
	lose(b)
	prod := b.site.Targets[b.rng.IntN(3)]
	r := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "unplanned", groupName))
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
	b.must(b.site.Source.Start())
	b.fenced()
	write := b.overwriteAt(disk(t, r.Export.Disks, b.disks[0].Name).Socket, 1<<20)
	time.Sleep(100 * time.Millisecond) // some writes
	if write() == 0 {
		t.Fatal("nobody could write at the secondary")
	}
	b.must(b.site.Call(b.ctx, prod, nil, "reverse", groupName, "--wait"))

	b.must(b.site.Source.Stop(patience))
	b.emptyDisks(b.disks[:1])
	again(b)
	b.must(b.site.Source.Start())
	b.wait(b.site.Source, "the new disk to be filled", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetState() != "Replica" {
			return errors.New(g.GetState())
		}
		return nil
	})
	b.wait(prod, "the old primary in sync", inSync)
	f := &adminv1.FailbackResponse{}
	b.must(b.site.Call(b.ctx, prod, f, "failback", groupName))
	b.writable(redoubt.Epoch(f.Epoch))
	b.sameAtBothSites()
	b.must(b.site.Call(b.ctx, b.site.Source, nil, "verify", groupName))
}

// emptyDisks puts new sparse files in the place of images.
func (b *bed) emptyDisks(disks []redoubt.Disk) {
	b.Helper()
	for _, d := range disks {
		path := filepath.Join(b.dir, d.Name)
		b.must(os.Remove(path))
		b.must(os.WriteFile(path, nil, 0o600))
		b.must(os.Truncate(path, int64(d.Size)))
	}
}
