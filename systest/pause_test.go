package systest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// inStateAt waits until a node calls the group's state so.
func (b *bed) inStateAt(n *site.Node, want string) *adminv1.Group {
	b.Helper()
	return b.wait(n, "state "+want+" at "+n.Name, func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetState() != want {
			return fmt.Errorf("it is %s, standing %v", g.GetState(), g.GetStanding())
		}
		return nil
	})
}

// A pause keeps what is written in the source's journal, over a kill of either
// side, and asked for at either; resumed, everything arrives in its order.
func TestPauseAndResume(t *testing.T) {
	b := newBed(t)
	src, tgt := b.site.Source, b.site.Targets[0]
	b.change(100)
	before := b.safe()

	b.must(b.site.Call(b.ctx, tgt, nil, "group", "pause", groupName, "--reason", "the link is needed"))
	g := b.inStateAt(src, "Paused")
	if s := g.GetStanding(); s.GetReason() != "the link is needed" || !strings.HasPrefix(s.GetBy(), "uid ") {
		t.Errorf("the source knows of %v", s)
	}
	b.change(200)
	src.Kill()
	b.must(src.Start())
	b.inStateAt(src, "Paused")
	b.relay.Resume()
	b.change(100)
	b.anchor()
	for _, n := range b.site.Targets {
		n.Kill()
	}
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	g = b.inStateAt(tgt, "Paused")
	if got := g.GetCommitted().GetLsn(); got != uint64(before.LSN) {
		t.Errorf("the secondary has LSN %d, paused at %d", got, before.LSN)
	}
	b.judgePoint(tgt, before) // a pause keeps no point from being opened
	if err := b.site.Call(b.ctx, tgt, nil, "group", "pause", groupName); err == nil || !strings.Contains(err.Error(), "allowed now") {
		t.Errorf("a second pause: %v", err)
	}
	b.must(b.site.Call(b.ctx, src, nil, "group", "resume", groupName))
	b.committed(b.head().LSN)
	b.judgePoint(tgt, b.head())

	// Now the sites cannot see each other, and the pause begins at the source.
	for _, n := range b.site.Targets {
		n.Kill()
	}
	r := &adminv1.PauseGroupResponse{}
	b.must(b.site.Call(b.ctx, src, r, "group", "pause", groupName, "--reason", "maintenance"))
	if o := r.GetOutcome(); o.GetAgreed() || o.GetState() != "Paused" {
		t.Errorf("without the secondary: %v", o)
	}
	b.change(50)
	src.Kill()
	b.must(src.Start())
	b.relay.Resume()
	paused := b.head()
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	g = b.inStateAt(tgt, "Paused")
	if s := g.GetStanding(); s.GetReason() != "maintenance" || !strings.Contains(s.GetBy(), "source/"+src.Name) {
		t.Errorf("the secondary was told of %v", s)
	}
	if got := g.GetCommitted().GetLsn(); got >= uint64(paused.LSN) {
		t.Errorf("the secondary has LSN %d of a paused source", got)
	}
	b.must(b.site.Call(b.ctx, tgt, nil, "group", "resume", groupName))
	b.change(50)
	b.safe()
	b.judgePoint(tgt, paused)
	b.judgePoint(tgt, b.head())
	b.judgeSource()
}

// Protection ends and begins again: the disks are served throughout, the points
// of before stay until they are deleted, and the new ones are the disks as they
// are, holes and all.
func TestUnprotectAndProtectAgain(t *testing.T) {
	b := newBed(t)
	src, tgt := b.site.Source, b.site.Targets[1]
	b.change(200)
	old := b.safe()

	b.must(b.site.Call(b.ctx, src, nil, "group", "unprotect", groupName, "--reason", "not needed"))
	b.inStateAt(tgt, "Unprotected")
	b.inStateAt(src, "Unprotected")
	b.change(100)
	b.anchor()
	src.Kill()
	b.must(src.Start())
	b.inStateAt(src, "Unprotected")
	b.relay.Resume()
	b.change(100)
	b.anchor()
	b.judgeSource()
	b.judgePoint(tgt, old)

	stop := b.scribble()
	b.must(b.site.Call(b.ctx, tgt, nil, "group", "protect", groupName))
	b.inStateAt(src, "Protected")
	b.must(stop())
	b.inStateAt(tgt, "Protected")
	b.equalSites(tgt)
	b.judgePoint(tgt, old)

	b.must(b.site.Call(b.ctx, tgt, nil, "retention", "hold", groupName, "audit", old.String(), "--until", time.Now().Add(240*time.Hour).Format(time.RFC3339)))
	err := b.site.Call(b.ctx, tgt, nil, "group", "unprotect", groupName, "--delete-points")
	if err == nil || !strings.Contains(err.Error(), "hold audit") {
		t.Errorf("points under a hold were deleted: %v", err)
	}
	b.inStateAt(tgt, "Protected")
}

// Points that are deleted are gone on every node, also on one that was away,
// and the group begins again without them.
func TestDeletedPointsAreGone(t *testing.T) {
	b := newBed(t)
	src, tgt := b.site.Source, b.site.Targets[0]
	b.change(300)
	old := b.safe()
	if err := b.site.Call(b.ctx, src, nil, "group", "unprotect", groupName, "--delete-points"); err == nil {
		t.Fatal("a protected host deleted its recovery points")
	}
	b.inStateAt(src, "Protected")
	away := b.site.Targets[2]
	away.Kill()
	r := &adminv1.UnprotectGroupResponse{}
	b.must(b.site.Call(b.ctx, tgt, r, "group", "unprotect", groupName, "--delete-points"))
	if r.GetDeletedSegments() == 0 || r.GetDeletedBytes() == 0 {
		t.Errorf("deleted: %v", r)
	}
	left := func(want ...string) {
		b.Helper()
		b.wait(tgt, fmt.Sprintf("the deletion everywhere but on %v", want), func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if got := g.GetStanding().GetDeletion().GetNodesLeft(); fmt.Sprint(got) != fmt.Sprint(want) {
				return fmt.Errorf("left: %v", got)
			}
			return nil
		})
	}
	left(away.Name)
	if err := b.site.Call(b.ctx, tgt, nil, "failover", "test", groupName, "--at", old.String()); err == nil {
		t.Error("a deleted point was opened")
	}
	b.must(away.Start())
	left()
	b.must(b.site.Call(b.ctx, src, nil, "group", "protect", groupName))
	b.inStateAt(src, "Protected")
	b.inStateAt(tgt, "Protected")
	b.equalSites(tgt)
}

// scribble writes to the source's disks, beside the model, until stop is called.
func (b *bed) scribble() (stop func() error) {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	x := disk(b.T, g.Disks, "a")
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	end, done := make(chan struct{}), make(chan error, 1)
	go func() {
		p := make([]byte, 4096)
		for i := uint64(0); ; i++ {
			select {
			case <-end:
				done <- c.Close()
				return
			case <-time.After(time.Millisecond):
			}
			p[0], p[1] = byte(i), byte(i>>8)
			if err := c.Write(p, i%2000*4096, false); err != nil {
				done <- err
				return
			}
		}
	}()
	return func() error { close(end); return <-done }
}

// equalSites compares the newest point with the source's disks, of which nobody
// writes.
func (b *bed) equalSites(n *site.Node) {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	head := redoubt.LSN(g.GetHead().GetLsn())
	b.committed(head)
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName))
	if got := r.GetExport().GetPosition().GetLsn(); got != uint64(head) {
		b.Errorf("the newest point is %d, the source is at %d", got, head)
	}
	for _, d := range g.Disks {
		if mine, theirs := b.hash(d), b.hash(disk(b.T, r.Export.Disks, d.Name)); mine != theirs {
			b.Errorf("disk %s differs at epoch %d, LSN %d", d.Name, g.Epoch, head)
		}
	}
	b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
}

func (b *bed) hash(x *adminv1.Disk) string {
	b.Helper()
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	defer c.Close()
	h := sha256.New()
	_, err = io.Copy(h, io.NewSectionReader(c, 0, int64(x.Size)))
	b.must(err)
	return fmt.Sprintf("%x", h.Sum(nil))
}
