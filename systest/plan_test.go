package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// planBed is a source with two groups of one disk each, three targets, and
// scripts that report to files of the test.
type planBed struct {
	*bed
	groups map[string]string // disk by group
}

const planText = `version: 1
name: shop
stages:
  - name: db
    groups: [{name: g, node: t1}]
    post:
      - {name: look, script: look, node: t1, args: [one, "two words"]}
  - name: web
    pre:
      - {name: source, script: look, node: s1, when: [test]}
    groups: [{name: h, node: t2}]
    post:
      - {name: slow, script: slow, node: t2, timeout: 2m}
      - {name: ask, confirm: Does it work?, when: [test]}
    cleanup:
      - {name: down, script: look, node: t2}
`

// newPlanBed starts all nodes, with one folder of scripts for all.
func newPlanBed(t *testing.T, scripts map[string]string) *planBed {
	t.Helper()
	b := preparePlanBed(t, scripts)
	b.start()
	return b
}

// preparePlanBed makes everything and starts nothing.
func preparePlanBed(t *testing.T, scripts map[string]string) *planBed {
	t.Helper()
	b := &planBed{bed: &bed{T: t, ctx: t.Context()}, groups: map[string]string{"g": "a", "h": "b"}}
	var err error
	if b.dir, err = os.MkdirTemp("", "st"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	for _, d := range []string{"a", "b"} {
		img := filepath.Join(b.dir, d)
		b.must(errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, 16<<20)))
	}
	folder := filepath.Join(b.dir, "scripts")
	b.must(os.Mkdir(folder, 0o755))
	for name, body := range scripts {
		if !strings.HasPrefix(body, "#!") {
			body = "#!/bin/sh\nset -e\nT=" + b.dir + "\n" + body + "\n"
		}
		b.must(os.WriteFile(filepath.Join(folder, name), []byte(body), 0o755))
	}
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: "g", Disks: []site.Disk{{Name: "a", Path: filepath.Join(b.dir, "a")}}, JournalMax: "64MiB", Segment: "4MiB"})
	b.must(err)
	t.Cleanup(b.end)
	for _, n := range b.site.Nodes() {
		text, err := os.ReadFile(n.Config())
		b.must(err)
		more := "scripts: " + folder + "\n"
		if n == b.site.Source {
			more = fmt.Sprintf("    - name: h\n      redundancy: {data: 2, parity: 1}\n      journal: {max: 64MiB, segment: 4MiB}\n      disks: [{name: b, path: %s}]\n", filepath.Join(b.dir, "b")) + more
		}
		b.must(os.WriteFile(n.Config(), append(text, more...), 0o600))
	}
	return b
}

// start starts all nodes and waits until both groups are protected.
func (b *planBed) start() {
	b.Helper()
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	b.until(func() bool {
		st := &adminv1.GetStatusResponse{}
		if b.site.Call(b.ctx, b.site.Targets[0], st, "status") != nil || len(st.Groups) != 2 {
			return false
		}
		for _, g := range st.Groups {
			if g.State != "Protected" {
				return false
			}
		}
		return true
	})
}

// write puts text at the beginning of a group's disk and waits until it is safe.
func (b *planBed) write(group, text string) {
	b.Helper()
	st := &adminv1.GetStatusResponse{}
	b.must(b.site.Call(b.ctx, b.site.Source, st, "status", group))
	x := disk(b.T, st.Groups[0].Disks, b.groups[group])
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	b.must(errors.Join(c.Write(sector(text), 0, false), c.Flush(), c.Close()))
	b.until(func() bool {
		b.must(b.site.Call(b.ctx, b.site.Source, st, "status", group))
		g := st.Groups[0]
		return g.Committed.GetLsn() >= g.Head.GetLsn()
	})
}

// heard waits until the node has heard of every group since the last write to
// any: the instant of a test is then behind all of them.
func (b *planBed) heard(n *site.Node) {
	b.Helper()
	b.until(func() bool {
		st := &adminv1.GetStatusResponse{}
		b.must(b.site.Call(b.ctx, n, st, "status"))
		for _, g := range st.Groups {
			for _, other := range st.Groups {
				if !g.GetLink().GetLastContact().AsTime().After(other.CommittedTime.AsTime()) {
					return false
				}
			}
		}
		return true
	})
}

func sector(text string) []byte {
	p := make([]byte, redoubt.SectorSize)
	copy(p, text)
	return p
}

// reads checks what the disk at an NBD URI begins with.
func (b *planBed) reads(uri, want string) {
	b.Helper()
	rest, _ := strings.CutPrefix(uri, "nbd+unix:///")
	name, socket, _ := strings.Cut(rest, "?socket=")
	c, err := oracle.Dial(b.ctx, socket, name)
	b.must(err)
	p := make([]byte, redoubt.SectorSize)
	b.must(errors.Join(readAll(c, p), c.Close()))
	if got := strings.TrimRight(string(p), "\x00"); got != want {
		b.Errorf("%s begins with %q, want %q", uri, got, want)
	}
}

func (b *planBed) put(text string) {
	b.Helper()
	file := filepath.Join(b.dir, "plan.yaml")
	b.must(os.WriteFile(file, []byte(text), 0o600))
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "plan", "put", file))
}

// report returns the lines that scripts wrote to a file; none if there is none.
func (b *planBed) report(name string) []string {
	text, err := os.ReadFile(filepath.Join(b.dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' })
}

func (b *planBed) run(n *site.Node, id string) *adminv1.PlanRun {
	b.Helper()
	r := &adminv1.PlanRun{}
	b.must(b.site.Call(b.ctx, n, r, "plan", "status", id))
	return r
}

func (b *planBed) step(r *adminv1.PlanRun, key string) *adminv1.PlanStep {
	b.Helper()
	for _, s := range r.Steps {
		if s.Key == key {
			return s
		}
	}
	b.Fatalf("%s has no step %s", r.Id, key)
	return nil
}

var planScripts = map[string]string{
	"look": `echo "$REDOUBT_STEP $REDOUBT_KIND $REDOUBT_DIRECTION $REDOUBT_NODE $REDOUBT_ATTEMPT $1 $2" >>$T/look; printf '%s' "$REDOUBT_EXPORTS" >$T/exports`,
	"slow": `echo "$REDOUBT_ATTEMPT" >>$T/slow; while [ ! -e $T/go ]; do sleep 0.1; done; echo all is well`,
}

// A test run with scripts on three nodes; the node that carries it out is
// killed in the middle of one, another one takes over; an operator confirms; after
// cleanup nothing is left. Then the real thing.
func TestPlanSurvivesItsNode(t *testing.T) {
	b := newPlanBed(t, planScripts)
	t1, t2, t3 := b.site.Targets[0], b.site.Targets[1], b.site.Targets[2]
	b.badPlan(t1)
	b.put(planText)
	b.write("g", "first of g")
	b.write("h", "first of h")
	b.heard(t3)
	r := &adminv1.PlanRun{}
	b.must(b.site.Call(b.ctx, t3, r, "plan", "test", "shop", "--no-wait"))
	b.until(func() bool { return len(b.report("slow")) == 1 })
	b.write("g", "second of g") // later than the run's instant
	t3.Kill()
	b.until(func() bool { return len(b.report("slow")) == 2 })
	b.must(os.WriteFile(filepath.Join(b.dir, "go"), nil, 0o600))
	b.until(func() bool { return b.step(b.run(t1, r.Id), "web/post/ask").State == "waiting" })
	r = b.run(t2, r.Id)
	if r.Term < 2 || r.Node == "t3" || b.step(r, "db/group/g").Attempt != 1 || b.step(r, "web/post/slow").Attempt != 2 {
		t.Errorf("after the takeover: %v", r)
	}
	if s := b.step(r, "web/post/slow"); s.Output != "all is well\n" || s.OutputBytes != 12 || len(s.OutputSha256) != 64 {
		t.Errorf("what the script said: %v", s)
	}
	b.must(b.site.Call(b.ctx, t2, r, "plan", "confirm", r.Id, "web/post/ask"))
	b.until(func() bool { return b.run(t1, r.Id).State == "done" })
	if by := b.step(b.run(t1, r.Id), "web/post/ask").By; by != "uid 0" && !strings.HasPrefix(by, "uid ") {
		t.Errorf("confirmed by %q", by)
	}
	want := []string{"db/post/look test failover t1 1 one two words", "web/pre/source test failover s1 1  "}
	if got := b.report("look"); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("scripts: %q, want %q", got, want)
	}
	b.exports(b.run(t1, r.Id), "first of g", "first of h")

	// A node that is down and has opened nothing is in nobody's way.
	b.must(b.site.Call(b.ctx, t1, r, "plan", "cleanup", r.Id))
	if n := len(b.exportsOf(t1, "test")) + len(b.exportsOf(t2, "test")); n != 0 || r.State != "undone" {
		t.Errorf("after cleanup %d exports, run %s", n, r.State)
	}
	if got := b.report("look"); len(got) != 3 || got[2] != "web/cleanup/down test failover t2 1  " {
		t.Errorf("after cleanup: %q", got)
	}
	left, err := filepath.Glob(filepath.Join(b.dir, "t*", "data", "exports", "*", "*"))
	b.must(err)
	if len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	b.must(t3.Start())
	b.forReal(t1)
}

// badPlan has everything said that is wrong with a plan.
func (b *planBed) badPlan(n *site.Node) {
	b.Helper()
	file := filepath.Join(b.dir, "bad.yaml")
	bad := strings.NewReplacer("name: h,", "name: x,", "script: slow", "script: nosuch", "node: s1", "node: s9").Replace(planText)
	b.must(os.WriteFile(file, []byte(bad), 0o600))
	_, err := b.site.Run(b.ctx, "--socket", n.AdminSocket(), "plan", "validate", file)
	var ce *site.CommandError
	if !errors.As(err, &ce) || !strings.Contains(ce.Stderr, "3 faults") {
		b.Fatalf("validate: %v", err)
	}
	err = b.site.Call(b.ctx, n, nil, "plan", "put", file)
	for _, want := range []string{`stages[1].groups[0].name: there is no group \"x\"`, "stages[1].post[0].script: at t2:", `stages[1].pre[0].node: there is no node \"s9\"`} {
		if !errors.As(err, &ce) || !strings.Contains(ce.Stderr, want) {
			b.Fatalf("put: %v, want %q", err, want)
		}
	}
}

func (b *planBed) exportsOf(n *site.Node, kind string) (out []*adminv1.Export) {
	b.Helper()
	l := &adminv1.ListExportsResponse{}
	b.must(b.site.Call(b.ctx, n, l, "export", "list"))
	for _, x := range l.Exports {
		if x.Kind == kind {
			out = append(out, x)
		}
	}
	return out
}

// exports reads the disks that the run has opened.
func (b *planBed) exports(r *adminv1.PlanRun, g, h string) {
	b.Helper()
	for key, want := range map[string]string{"db/group/g": g, "web/group/h": h} {
		f := strings.Split(strings.TrimSpace(b.step(r, key).Output), "\t")
		if len(f) != 6 {
			b.Fatalf("%s: %q", key, f)
		}
		b.reads(f[3], want)
	}
}

// forReal fails over for good and predicts how long the next one would take.
func (b *planBed) forReal(n *site.Node) {
	b.Helper()
	b.site.Source.Kill()
	r := &adminv1.PlanRun{}
	b.must(b.site.Call(b.ctx, n, r, "plan", "run", "shop", "--kind", "unplanned"))
	if r.State != "done" || r.Done != 4 {
		b.Fatalf("%v", r)
	}
	b.exports(r, "second of g", "first of h")
	st := &adminv1.GetStatusResponse{}
	b.must(b.site.Call(b.ctx, n, st, "status"))
	for _, g := range st.Groups {
		if g.State != "FailoverCommitPending" {
			b.Errorf("group %s is %s", g.Id, g.State)
		}
	}
	p := &adminv1.PredictPlanResponse{}
	b.must(b.site.Call(b.ctx, n, p, "plan", "dry-run", "shop", "--kind", "unplanned"))
	for _, s := range p.Steps {
		if s.Measured == 0 {
			b.Errorf("%s was never measured: %v", s.Key, s)
		}
	}
	b.must(b.site.Call(b.ctx, n, nil, "plan", "cancel", r.Id, "--undo", "--no-wait"))
	b.until(func() bool { return b.run(n, r.Id).State == "undone" })
	b.must(b.site.Call(b.ctx, n, st, "status"))
	for _, g := range st.Groups {
		if g.State != "Protected" || g.Writer != "source/s1" {
			b.Errorf("after undo group %s is %s, writer %s", g.Id, g.State, g.Writer)
		}
	}
}

func readAll(c *oracle.Client, p []byte) error {
	_, err := c.ReadAt(p, 0)
	return err
}

// A planned run stops at an error, is resumed, and goes back in the end; what
// was written on the way is there.
func TestPlannedRunAndFailback(t *testing.T) {
	b := newPlanBed(t, map[string]string{
		"look": planScripts["look"],
		"slow": `[ -e $T/mended ] || { echo the application does not start; exit 3; }`,
	})
	t1, t2 := b.site.Targets[0], b.site.Targets[1]
	b.put(planText)
	b.write("g", "primary g")
	b.write("h", "primary h")
	err := b.site.Call(b.ctx, t1, nil, "plan", "run", "shop", "--kind", "planned")
	var ce *site.CommandError
	if !errors.As(err, &ce) || !strings.Contains(ce.Stderr, "it is stopped, 1 steps failed") {
		t.Fatalf("got %v", err)
	}
	r := b.run(t2, "shop/1")
	if s := b.step(r, "web/post/slow"); s.State != "failed" || !strings.Contains(s.Error, "exit code 3") || s.Output != "the application does not start\n" || fmt.Sprint(r.Next) != "[resume cancel]" {
		t.Fatalf("%v, next %v", s, r.Next)
	}
	b.must(os.WriteFile(filepath.Join(b.dir, "mended"), nil, 0o600))
	b.must(b.site.Call(b.ctx, t2, r, "plan", "resume", r.Id))
	if r.State != "done" || b.step(r, "db/group/g").Attempt != 1 || b.step(r, "web/post/slow").Attempt != 2 {
		t.Fatalf("%v", r)
	}
	b.exports(r, "primary g", "primary h")
	for _, g := range []string{"g", "h"} {
		b.must(b.site.Call(b.ctx, t1, nil, "failover", "commit", g))
	}
	f := strings.Split(strings.TrimSpace(b.step(r, "db/group/g").Output), "\t")
	rest, _ := strings.CutPrefix(f[3], "nbd+unix:///")
	name, socket, _ := strings.Cut(rest, "?socket=")
	c, err := oracle.Dial(b.ctx, socket, name)
	b.must(err)
	b.must(errors.Join(c.Write(sector("secondary g"), 0, false), c.Flush(), c.Close()))

	b.must(b.site.Call(b.ctx, t2, r, "plan", "run", "shop", "--kind", "planned", "--direction", "failback"))
	if r.State != "done" || r.Direction != "failback" {
		t.Fatalf("%v", r)
	}
	st := &adminv1.GetStatusResponse{}
	b.must(b.site.Call(b.ctx, b.site.Source, st, "status"))
	for _, g := range st.Groups {
		x := disk(t, g.Disks, b.groups[g.Id])
		b.reads(x.Uri, map[string]string{"g": "secondary g", "h": "primary h"}[g.Id])
	}
}
