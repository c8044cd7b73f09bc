package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/ship"
)

// stopHost opens a host whose hook notes its words in the file that is returned.
func stopHost(t *testing.T, script string) (cfg Config, log string) {
	t.Helper()
	cfg = nbdConfig(t, "")
	log = filepath.Join(t.TempDir(), "log")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "hook"), []byte("#!/bin/sh\necho \"$1 $2 $3\" >>"+log+"\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	cfg.Groups[0].Hooks = Hooks{Scripts: hook.Dir(dir), Time: 5 * time.Second, Hold: time.Minute}
	return cfg, log
}

func openOne(t *testing.T, cfg Config) (*Host, *Group) {
	t.Helper()
	h, err := Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h, h.Groups()[0]
}

func words(t *testing.T, log string) string {
	t.Helper()
	b, err := os.ReadFile(log)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Join(strings.Split(strings.TrimSpace(string(b)), "\n"), ", ")
}

// A stopped source stays stopped when it is opened again, until the job is over.
func TestStopIsDurable(t *testing.T) {
	cfg, log := stopHost(t, "")
	h, g := openOne(t, cfg)
	v := g.disks.Volumes()[0]
	data := []byte(strings.Repeat("x", 4096))
	if err := v.Write(data, 0, false); err != nil {
		t.Fatal(err)
	}
	r, err := g.stopWriters(t.Context(), &ship.JobOrder{ID: 7, Limit: int64(time.Minute)})
	if err != nil {
		t.Fatal(err)
	}
	if r.What != ship.JobStopped || r.Head != 1 || len(r.Proof) != 1 {
		t.Fatalf("report %+v", r)
	}
	if sum, err := ship.HashExtents(r.Proof, func(_ redoubt.DiskID, p []byte, off uint64) error { copy(p, data); return nil }); err != nil || string(sum) != string(r.Sum) {
		t.Errorf("the hash is not that of the last write: %x, want %x, %v", r.Sum, sum, err)
	}
	refused := func(g *Group) {
		t.Helper()
		if err := g.disks.Volumes()[0].Write(data, 4096, false); !errors.Is(err, redoubt.ErrReadOnly) {
			t.Errorf("a write: %v", err)
		}
		if _, err := g.Bookmark(t.Context(), "b", BookmarkCrash); !errors.Is(err, redoubt.ErrReadOnly) {
			t.Errorf("a bookmark: %v", err)
		}
		if s := g.Status().Stopped; s == nil || s.Job != 7 || s.Head != 1 || s.Limit != time.Minute {
			t.Errorf("status %+v", s)
		}
	}
	refused(g)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, g = openOne(t, cfg)
	defer func() { h.Close() }()
	refused(g)
	if err := g.resumeWriters(6, false); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("resumed for another job: %v", err)
	}
	if got := words(t, log); got != "freeze g planned-failover-7, thaw g planned-failover-7" { // nothing stays frozen when the daemon ends
		t.Errorf("hook: %s", got)
	}
	if err := g.resumeWriters(7, false); err != nil {
		t.Fatal(err)
	}
	if err := g.disks.Volumes()[0].Write(data, 4096, false); err != nil {
		t.Error(err)
	}
	if got := words(t, log); got != "freeze g planned-failover-7, thaw g planned-failover-7" {
		t.Errorf("hook: %s", got)
	}
}

// A hook that fails or hangs is followed by a thaw, and nobody was stopped.
func TestStopNeedsTheHook(t *testing.T) {
	for name, script := range map[string]string{"fails": "[ $1 = thaw ] || { echo no room >&2; exit 3; }", "hangs": "[ $1 = thaw ] || sleep 60"} {
		t.Run(name, func(t *testing.T) {
			cfg, log := stopHost(t, script)
			cfg.Groups[0].Hooks.Time = 300 * time.Millisecond
			h, g := openOne(t, cfg)
			defer h.Close()
			_, err := g.stopWriters(t.Context(), &ship.JobOrder{ID: 1})
			if err == nil || name == "fails" && !strings.Contains(redoubt.Hint(err), "no room") {
				t.Errorf("%v, hint %q", err, redoubt.Hint(err))
			}
			if _, ok := g.held(); ok || g.disks.ReadOnly() != nil {
				t.Error("the clients are stopped")
			}
			if got := words(t, log); got != "freeze g planned-failover-1, thaw g planned-failover-1" {
				t.Errorf("hook: %s", got)
			}
		})
	}
}

// An operator's force is remembered: the job does not stop the clients again.
func TestForcedSourceRefusesTheJob(t *testing.T) {
	cfg, _ := stopHost(t, "")
	h, g := openOne(t, cfg)
	if _, err := g.ForceResume(); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("forced what is not stopped: %v", err)
	}
	if _, err := g.stopWriters(t.Context(), &ship.JobOrder{ID: 3}); err != nil {
		t.Fatal(err)
	}
	if job, err := g.ForceResume(); err != nil || job != 3 {
		t.Fatal(job, err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, g = openOne(t, cfg)
	defer h.Close()
	if g.disks.ReadOnly() != nil {
		t.Error("the clients are stopped")
	}
	p := &planned{g: g}
	for _, step := range []string{"quiesce", "drain"} {
		p.act(context.Background(), &ship.JobOrder{ID: 3, Step: step, Limit: 1})
		if p.report == nil || p.report.What != ship.JobRefused {
			t.Errorf("step %s: report %+v", step, p.report)
		}
	}
}

// What a stopped source does follows from what the catalog says, and from the time.
func TestStoppedSourceActs(t *testing.T) {
	now := time.Now()
	cfg, _ := stopHost(t, "")
	cfg.Now = func() time.Time { return now }
	h, g := openOne(t, cfg)
	defer h.Close()
	p := &planned{g: g}
	act := func(o *ship.JobOrder) string {
		t.Helper()
		p.report = nil
		p.act(t.Context(), o)
		if p.report == nil {
			return ""
		}
		return p.report.What
	}
	order := func(step string) *ship.JobOrder { return &ship.JobOrder{ID: 5, Step: step, Limit: int64(time.Minute)} }
	if got := act(order("drain")); got != ship.JobRefused {
		t.Errorf("a source that was not stopped, at step drain: %q", got)
	}
	if got := act(order("quiesce")); got != ship.JobStopped {
		t.Fatalf("at step quiesce: %q, %+v", got, p.report)
	}
	for _, step := range []string{"drain", "compare", "promote"} {
		if got := act(order(step)); got != "" || g.disks.ReadOnly() == nil {
			t.Errorf("at step %s: %q", step, got)
		}
	}
	now = now.Add(time.Minute + 1)
	if got := act(order("drain")); got != ship.JobRefused || g.disks.ReadOnly() == nil {
		t.Errorf("after the limit: %q; it must ask, and stay stopped", got)
	}
	if got := act(nil); got != ship.JobResumed || g.disks.ReadOnly() != nil {
		t.Errorf("without a job: %q, %v", got, g.disks.ReadOnly())
	}
	if got := act(order("resume")); got != ship.JobResumed {
		t.Errorf("asked how it ended: %q", got)
	}
}

// An unprotection at this host alone ends a planned failover that is under way:
// the journal has no place for the secondary any more.
func TestUnprotectedWhilePlanned(t *testing.T) {
	h, g := openOne(t, nbdConfig(t, ""))
	defer h.Close()
	p := &planned{g: g}
	ctx, cancel := context.WithCancel(t.Context())
	_, changed := g.currentRole()
	go func() { <-changed; cancel() }() // as run does
	go func() {
		if err := g.begin(&ship.Ask{Op: ship.AskUnprotect}, true); err != nil {
			t.Error(err)
		}
	}()
	p.catchUp(ctx, &ship.JobOrder{ID: 7, Step: "ship"})
	if r := p.report; r == nil || r.What != ship.JobProgress || r.Acked != 0 {
		t.Errorf("report %+v", r)
	}
	if _, err := g.stopWriters(t.Context(), &ship.JobOrder{ID: 7}); err != nil {
		t.Error(err)
	}
}
