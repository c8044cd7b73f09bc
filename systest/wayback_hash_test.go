package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// An old primary that has lost its journal, or all that Redoubt had there, and
// whose disks differ in ways that nobody knows, is compared by hashes: the way
// back ships what differs, and ends with equal sites. Both ends are killed meanwhile.
func TestWayBackToALostJournal(t *testing.T) {
	for _, lost := range []string{"journal", ""} {
		b := newBed(t)
		b.settled()
		b.site.Source.Kill()
		b.must(os.RemoveAll(filepath.Join(b.groupDir(), lost)))
		differ := b.spoilBlocks(sized(300, 100))
		prod := b.site.Targets[b.rng.IntN(3)]
		r := &adminv1.UnplannedFailoverResponse{}
		b.must(b.site.Call(b.ctx, prod, r, "failover", "unplanned", groupName))
		b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
		b.must(b.site.Source.Start())
		b.fenced()
		stop := b.overwriteAt(disk(t, r.Export.Disks, b.disks[0].Name).Socket, 1<<20)
		time.Sleep(100 * time.Millisecond)
		written := stop()
		b.must(b.site.Call(b.ctx, prod, nil, "reverse", groupName))
		for i := range sized(4, 2) {
			time.Sleep(time.Duration(b.rng.IntN(200)) * time.Millisecond) // any moment will do: that is the test
			victim := b.site.Source
			if i%2 == 1 {
				victim = prod
			}
			victim.Kill()
			b.must(victim.Start())
			b.wait(prod, "the export to be open", exported)
		}
		g := b.wait(prod, "the old primary in sync", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if !g.GetReverse().GetInSync() {
				return fmt.Errorf("%v", g.GetReverse())
			}
			return nil
		})
		// What was found before a kill of the secondary's node is not counted again.
		if c := g.GetReverse().GetBytesToCopy(); c > differ*4096+1<<20 {
			t.Errorf("%d bytes differed, %d were written: %d were found", differ*4096, written, c)
		}
		b.must(b.site.Call(b.ctx, prod, nil, "failback", groupName))
		b.wait(b.site.Source, "the source to be the writer", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if g.GetReadOnly() || g.State != "Protected" {
				return fmt.Errorf("state %s, read-only %v", g.GetState(), g.GetReadOnly())
			}
			return nil
		})
		b.sameAtBothSites()
		b.must(b.site.Call(b.ctx, b.site.Source, nil, "verify", groupName))
		b.resynced() // the journal that came with the way back is the right one
	}
}

func exported(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
	if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
		return errors.New("not exported")
	}
	return nil
}
