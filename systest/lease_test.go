package systest

import (
	"errors"
	"syscall"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// A source with a lease stops by itself when most of the secondary does not
// answer, although one node of it does, and goes on by itself.
func TestLeaseEnds(t *testing.T) {
	const lease = 15 * time.Second
	b := newBed(t)
	b.change(50)
	b.reconfigure("      disks:", "      lease: 15s\n      disks:")
	b.must(b.site.Source.Stop(patience))
	b.must(b.site.Source.Start())
	b.writable(1)
	b.relay.Resume()
	b.change(50)

	began := time.Now()
	for _, n := range b.site.Targets[1:] {
		b.must(n.Signal(syscall.SIGSTOP))
	}
	b.change(50) // it lasts for a while
	g := b.wait(b.site.Source, "the disks to take no writes", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReadOnly() || !g.Disks[0].GetReadOnly() {
			return errors.New("they take writes")
		}
		return nil
	})
	if took := time.Since(began); took < lease/2 {
		t.Errorf("a lease of %s was over after %s", lease, took)
	}
	t.Log(g.ReadOnlyReason)
	b.takeNoWrites(g)
	for _, n := range b.site.Targets[1:] {
		b.must(n.Signal(syscall.SIGCONT))
	}
	b.writable(1)
	b.relay.Resume()
	b.change(50)
	b.safe()
	b.judgeSource()
}
