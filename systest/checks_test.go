package systest

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// scripts makes a folder of scripts.
func scripts(t *testing.T, body map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range body {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// rootHash is what docs/formats/receipt.md says of the model's disks at p.
func (b *bed) rootHash(p redoubt.Position) string {
	b.Helper()
	b.must(b.state.Seek(p))
	root := sha256.New()
	root.Write([]byte("redoubt-root-1\n"))
	for _, d := range b.disks {
		img, err := os.ReadFile(b.state.Path(d.ID))
		b.must(err)
		h := sha256.New()
		h.Write(binary.BigEndian.AppendUint64([]byte("redoubt-disk-1\n"), uint64(len(img))))
		for len(img) > 0 {
			n := min(len(img), 1<<20)
			sum := sha256.Sum256(img[:n])
			h.Write(sum[:])
			img = img[n:]
		}
		root.Write(h.Sum(nil))
	}
	return hex.EncodeToString(root.Sum(nil))
}

// leftOfChecks returns the test failovers and scratch folders of a target.
func (b *bed) leftOfChecks(n *site.Node) (open []*adminv1.Export, left []string) {
	b.Helper()
	r := &adminv1.ListExportsResponse{}
	b.must(b.site.Call(b.ctx, n, r, "export", "list"))
	left, err := filepath.Glob(filepath.Join(n.Dir, "data", "checks", "*"))
	b.must(err)
	return r.Exports, left
}

// A target that is killed in the middle of a check ends its test failover and
// its scratch folder when it comes back.
func (b *bed) killInCheck(n *site.Node) {
	b.Helper()
	ended := make(chan error, 1)
	go func() { ended <- b.site.Call(b.ctx, n, nil, "check", "run", groupName, "--script", "hangs") }()
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		if open, left := b.leftOfChecks(n); len(open) == 1 && len(left) == 1 {
			break
		}
		if time.Now().After(deadline) {
			b.Fatal("the check does not begin")
		}
	}
	n.Kill()
	if err := <-ended; err == nil {
		b.Error("a check of a killed node passed")
	}
	b.must(n.Start())
	b.wait(n, "the node to be back", func(*adminv1.GetStatusResponse, *adminv1.Group) error { return nil })
	// The node opens the test failover again before it ends it: the pin goes last.
	b.wait(n, "an end of the check", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
		open, left := b.leftOfChecks(n)
		pins := &adminv1.GetRetentionResponse{}
		b.must(b.site.Call(b.ctx, n, pins, "retention", "show", groupName))
		if len(open)+len(left)+len(pins.Pins) > 0 {
			return fmt.Errorf("after a kill in the middle there is %v, %v, %v", open, left, pins.Pins)
		}
		return nil
	})
}

// Bookmarks with hooks, of one group and of a set, are found by kind and name;
// checks of them pass and fail, leave nothing open, and their receipts are
// genuine and say what the model says.
func TestBookmarksAndChecks(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	hooks := scripts(t, map[string]string{"10-app": fmt.Sprintf("echo $1 $3 >>%s\n[ ! -e %s.bad ] || [ $1 = thaw ]", log, log)})
	checks := scripts(t, map[string]string{
		"reads": `[ "$REDOUBT_DISKS" = 2 ] && nbdinfo --size "$REDOUBT_DISK_2_URI" && test -d "$REDOUBT_SCRATCH"`,
		"bad":   "echo something is wrong; exit 3", "hangs": "exec sleep 30",
	})
	b := newBedOf(t, site.Options{Hooks: hooks, Checks: checks})
	src, target := b.site.Source, b.site.Targets[1]
	mark := func(args ...string) (*adminv1.AddBookmarkResponse, redoubt.Position) {
		t.Helper()
		r := &adminv1.AddBookmarkResponse{}
		b.must(b.site.Call(b.ctx, src, r, append([]string{"bookmark", groupName}, args...)...))
		return r, redoubt.Position{Epoch: redoubt.Epoch(r.Position.Epoch), LSN: redoubt.LSN(r.Position.Lsn)}
	}
	stop := b.background()
	app, appAt := mark("app", "--app")
	if !app.AppConsistent || app.Frozen.AsDuration() <= 0 {
		t.Errorf("%v", app)
	}
	b.must(os.WriteFile(log+".bad", nil, 0o600))
	if err := b.site.Call(b.ctx, src, nil, "bookmark", groupName, "none", "--app"); err == nil {
		t.Error("a bookmark whose hook failed")
	}
	if half, _ := mark("half", "--app", "--or-crash"); half.AppConsistent || half.WhyNot == "" {
		t.Errorf("%v", half)
	}
	b.must(os.Remove(log + ".bad"))
	set := &adminv1.AddBookmarkSetResponse{}
	b.must(b.site.Call(b.ctx, target, set, "bookmark", "--groups", groupName, "all", "--app"))
	setAt := redoubt.Position{Epoch: redoubt.Epoch(set.Members[0].Epoch), LSN: redoubt.LSN(set.Members[0].Lsn)}
	t.Logf("barrier %s, held %s", set.Barrier.AsDuration(), set.Members[0].Held.AsDuration())
	b.must(stop())
	said, err := os.ReadFile(log)
	b.must(err)
	if want := "freeze app\nthaw app\nfreeze none\nthaw none\nfreeze half\nthaw half\nfreeze all\nthaw all\n"; string(said) != want {
		t.Errorf("the hook was called\n%s", said)
	}
	b.wait(src, "everything at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetCommitted().GetLsn() < g.GetHead().GetLsn() {
			return fmt.Errorf("committed %v of %v", g.Committed, g.Head)
		}
		return nil
	})
	for at, want := range map[string]redoubt.Position{"bookmark:app": appAt, "bookmark:all": setAt, "latest-app": setAt} {
		x := &adminv1.TestFailoverResponse{}
		b.must(b.site.Call(b.ctx, target, x, "failover", "test", groupName, "--at", at))
		if p := x.Export.Position; p.Epoch != uint64(want.Epoch) || p.Lsn != uint64(want.LSN) {
			t.Errorf("%s is %v, want %v", at, p, want)
		}
		b.must(b.site.Call(b.ctx, target, nil, "failover", "cleanup", groupName))
	}
	if err := b.site.Call(b.ctx, target, nil, "failover", "test", groupName, "--at", "bookmark:none"); err == nil {
		t.Error("the bookmark that failed is there")
	}

	if _, err := exec.LookPath("nbdinfo"); err != nil {
		t.Skip("nbdinfo is missing: apt-get install libnbd-bin")
	}
	check := &adminv1.RunCheckResponse{}
	b.must(b.site.Call(b.ctx, b.site.Targets[0], check, "check", "run", groupName, "--script", "reads", "--at", "latest-app", "--node", target.Name))
	if !check.Check.Passed || check.Check.Node != target.Name || check.Check.Rto.AsDuration() <= 0 || check.Check.Lsn != uint64(setAt.LSN) {
		t.Errorf("%v", check)
	}
	for script, want := range map[string]string{"bad": "exit code 3", "hangs": "not done after 8s"} {
		if err := b.site.Call(b.ctx, target, nil, "check", "run", groupName, "--script", script, "--no-hash"); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "exit status 7") {
			t.Errorf("%s: %v", script, err)
		}
	}
	for _, script := range []string{"../reads", "none"} {
		if err := b.site.Call(b.ctx, target, nil, "check", "run", groupName, "--script", script); err == nil {
			t.Errorf("%s was run", script)
		}
	}
	st, g, err := b.site.Status(b.ctx, target)
	b.must(err)
	if k := g.LastCheck; k == nil || k.Passed || st == nil {
		t.Errorf("last check %v", k)
	}
	if open, left := b.leftOfChecks(target); len(open)+len(left) > 0 {
		t.Errorf("still there: %v, %v", open, left)
	}
	receipt := filepath.Join(b.dir, "receipt.json")
	text, err := b.site.Run(b.ctx, "--socket", target.AdminSocket(), "check", "receipt", groupName, check.Check.Id)
	b.must(err)
	b.must(os.WriteFile(receipt, []byte(text), 0o600))
	out, err := b.site.Run(b.ctx, "check", "verify-receipt", receipt, "--ca", filepath.Join(target.Dir, "id", "ca.crt"))
	b.must(err)
	// The model does not know of the bookmarks: three until there, with its own.
	if want := b.rootHash(redoubt.Position{Epoch: 1, LSN: setAt.LSN - 3}); !strings.Contains(out, "target/"+target.Name) || !strings.Contains(out, want) || check.RootSha256 != want {
		t.Errorf("receipt\n%s\nroot %s, the model has %s", out, check.RootSha256, want)
	}
	points, err := b.site.Run(b.ctx, "--socket", target.AdminSocket(), "points", groupName, "-n", "1000")
	b.must(err)
	if !strings.Contains(points, "all (app)") || !strings.Contains(points, "FAILED") {
		t.Errorf("points\n%s", points)
	}
	b.killInCheck(target)
}
