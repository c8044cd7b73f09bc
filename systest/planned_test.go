package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// F1: production moves to the secondary under load without the loss of a write,
// the way back begins by itself with nothing to copy, and production comes home.
func TestPlannedFailover(t *testing.T) {
	b := newBed(t)
	b.change(sized(800, 300))
	stop := b.background()
	at := b.head().LSN
	b.until(func() bool { return b.head().LSN > at+50 })
	prod := b.site.Targets[1]
	point := b.planned(prod, stop)

	_, g, err := b.site.Status(b.ctx, prod)
	b.must(err)
	b.judge(g.Disks, point)
	b.must(b.model.Fork(2, point))
	relay := b.use(2, g.Disks)
	b.fenced()
	b.receipt(point, 0)
	b.overwrite(relay, 100)
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
	g = b.wait(prod, "the way back to begin by itself", inSync)
	if n := g.GetReverse().GetBytesToCopy(); n != 0 {
		t.Errorf("%d bytes were to be copied to a primary that is equal", n)
	}
	b.overwrite(relay, 100)
	r := &adminv1.FailbackResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failback", groupName))
	last := redoubt.Position{Epoch: redoubt.Epoch(r.Position.Epoch), LSN: redoubt.LSN(r.Position.Lsn)}
	if drift, err := b.model.Anchor(last.Epoch, last.LSN); err != nil {
		t.Fatalf("drift %d: %v", drift, err)
	}
	b.writable(3)
	_, g, err = b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	b.judge(g.Disks, last)
	b.judgePoint(b.other(prod), point)
	b.history("planned-failover done", "commit done", "reverse done", "failback done")
}

// planned fails over to prod; stop ends the load. It returns the promoted point, which
// must be the model's last write.
func (b *bed) planned(prod *site.Node, stop func() error) redoubt.Position {
	b.Helper()
	r := &adminv1.PlannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "planned", groupName, "--node", prod.Name))
	if err := stop(); !errors.Is(err, syscall.EPERM) {
		b.Fatalf("the load ended with %v, want EPERM", err)
	}
	p := redoubt.Position{Epoch: redoubt.Epoch(r.Job.Epoch), LSN: redoubt.LSN(r.Job.HeadLsn)}
	if want := b.head(); p != want {
		b.Fatalf("promoted at %s, the last acknowledged write is %s", p, want)
	}
	b.Logf("nobody could write for %d ms", r.Job.PausedMs)
	return p
}

func inSync(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
	if !g.GetReverse().GetInSync() {
		return fmt.Errorf("state %s, reverse %v", g.GetState(), g.GetReverse())
	}
	return nil
}

// history checks the kinds and states of the group's jobs, in their order.
func (b *bed) history(want ...string) {
	b.Helper()
	var got []string
	b.until(func() bool {
		r := &adminv1.ListJobsResponse{}
		b.must(b.site.Call(b.ctx, b.site.Targets[0], r, "job", "list", groupName))
		got = nil
		for _, j := range r.Jobs {
			got = append(got, j.Kind+" "+j.State)
		}
		return fmt.Sprint(got) == fmt.Sprint(want)
	})
}

// A planned failover that cannot reach its end is called off, by whoever notices,
// and the source goes on as if nothing had happened.
func TestPlannedFailoverCalledOff(t *testing.T) {
	b := newBed(t)
	b.change(200)
	b.anchor()
	prod := b.site.Targets[0]
	// Most of the secondary stands still while the writers are stopped: nothing can be
	// agreed, so the source stays stopped, and says so.
	ran := b.hook("sleep 2")
	answer := make(chan error, 1)
	go func() {
		answer <- b.site.Call(b.ctx, prod, nil, "failover", "planned", groupName, "--stop-limit", "3s")
	}()
	b.until(func() bool { return ran("freeze") })
	for _, n := range b.site.Targets[1:] {
		b.must(n.Signal(syscall.SIGSTOP))
	}
	b.wait(b.site.Source, "the source to say that it is stopped and alone", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetState() != "Quiesced" || g.GetJob().GetHint() == "" {
			return fmt.Errorf("state %s, job %v", g.GetState(), g.GetJob())
		}
		return nil
	})
	b.site.Source.Kill() // and it is durable
	b.must(b.site.Source.Start())
	b.wait(b.site.Source, "the source to be stopped still", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetState() != "Quiesced" || !g.GetReadOnly() {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	time.Sleep(time.Second) // it must not give in by itself
	for _, n := range b.site.Targets[1:] {
		b.must(n.Signal(syscall.SIGCONT))
	}
	err := <-answer
	var ce *site.CommandError
	if !errors.As(err, &ce) {
		t.Fatalf("the command said %v", err)
	}
	t.Log(ce.Stderr)
	b.writable(1)
	b.until(func() bool { return ran("thaw") })
	b.relay.Resume()
	b.change(100)
	b.safe()
	b.judgeSource()
	b.judgePoint(prod, b.head())
	b.history("planned-failover failed")
}

// hook gives the source a freeze hook that notes what it was asked, and does
// more when it freezes. It returns whether the hook has ended for a word.
func (b *bed) hook(more string) (ran func(word string) bool) {
	b.Helper()
	dir, log := filepath.Join(b.dir, "hooks"), filepath.Join(b.dir, "hook.log")
	script := fmt.Sprintf("#!/bin/sh\necho \"$1 $2 $3\" >>%s\n[ $1 = thaw ] || { %s; }\n", log, more)
	b.must(os.Mkdir(dir, 0o700))
	b.must(os.WriteFile(filepath.Join(dir, "hook"), []byte(script), 0o700))
	b.reconfigure("      disks:", "      hooks: {scripts: "+dir+", time: 10s}\n      disks:")
	b.must(b.site.Source.Stop(patience))
	b.must(b.site.Source.Start())
	b.wait(b.site.Source, "the source to serve and ship", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" || !g.GetLink().GetConnected() {
			return errors.New("not yet")
		}
		return nil
	})
	b.relay.Resume()
	return func(word string) bool {
		got, err := os.ReadFile(log)
		return err == nil && strings.Contains(string(got), word+" "+groupName+" planned-failover-1")
	}
}
