package systest

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

var binDir string // set once by TestMain, read-only afterwards

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "redoubt-bin")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		flag.Parse()
		if err := build(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		binDir = dir
		noteSources()
		return end(m.Run())
	}())
}

// build makes the programs, or the broken ones that the flag names.
func build(dir string) error {
	args := []string{"build", "-o", dir}
	if *broken != "" {
		b, ok := breakages[*broken]
		if !ok {
			return fmt.Errorf("no breakage %q", *broken)
		}
		overlay, err := b.overlay(dir)
		if err != nil {
			return err
		}
		args = append(args, "-overlay", overlay)
	}
	out, err := exec.Command("go", append(args, "../cmd/redoubt", "../cmd/redoubtd")...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	return nil
}

// noteSources looks at every source file, so that go test's cache knows that
// these results depend on the programs and not on this package alone.
func noteSources() {
	filepath.WalkDir("..", func(p string, _ os.DirEntry, err error) error {
		if err == nil && filepath.Ext(p) == ".go" {
			os.Stat(p)
		}
		return nil
	})
}

const (
	groupName = "g"
	patience  = 45 * time.Second
)

// bed is two running sites with a protected group under a recording relay.
type bed struct {
	*testing.T
	ctx   context.Context
	dir   string
	seed  uint64
	rng   *rand.Rand
	site  *site.Site
	disks []redoubt.Disk
	model *oracle.Model
	state *oracle.State
	relay *oracle.Relay
	work  *oracle.Workload
}

// newBed starts two sites with two small disks that hold data and waits for
// the end of the initial copy.
func newBed(t *testing.T) *bed {
	t.Helper()
	return newBedOf(t, site.Options{})
}

// newBedOf is newBed with another number of targets, another redundancy, or
// clients over TCP.
func newBedOf(t *testing.T, o site.Options) *bed {
	t.Helper()
	return newBedWith(t, o, oracle.DefaultMix(), redoubt.Disk{ID: 1, Name: "a", Size: 24 << 20}, redoubt.Disk{ID: 2, Name: "b", Size: 8<<20 + 512})
}

// newBedWith is newBedOf with another load and other disks.
func newBedWith(t *testing.T, o site.Options, mix oracle.Mix, disks ...redoubt.Disk) *bed {
	t.Helper()
	b := &bed{T: t, ctx: t.Context(), seed: newSeed(), disks: disks}
	t.Logf("seed %d (-judge.seed)", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 0))
	b.work = oracle.NewWorkload(b.seed, b.disks, mix)
	var err error
	if b.dir, err = os.MkdirTemp("", "st"); err != nil { // t.TempDir is too long for socket paths
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	var md []oracle.Disk
	var sd []site.Disk
	for _, d := range b.disks {
		img, base := filepath.Join(b.dir, d.Name), filepath.Join(b.dir, d.Name+".base")
		b.must(site.MakeRaw(img, int64(d.Size), b.seed))
		b.must(site.CopyFile(b.ctx, img, base))
		md, sd = append(md, oracle.Disk{Disk: d, Base: base}), append(sd, site.Disk{Name: d.Name, Path: img})
	}
	o.BinDir, o.Dir, o.Group, o.Disks = binDir, b.dir, groupName, sd
	if o.JournalMax == "" {
		o.JournalMax, o.Segment = "512MiB", "4MiB"
		if o.OnFull == "" {
			o.OnFull = "block" // every change shall be a point, however fast they come
		}
	}
	b.site, err = site.New(b.ctx, o)
	b.must(err)
	t.Cleanup(b.end)
	b.model, err = oracle.New(filepath.Join(b.dir, "model"), md)
	b.must(err)
	t.Cleanup(func() { b.model.Close() })
	b.state, err = b.model.State()
	b.must(err)
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	g := b.wait(b.site.Source, "the initial copy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetCopy().GetComplete() || g.State != "Protected" || len(g.Disks) != len(b.disks) {
			return fmt.Errorf("state %s, copy %v", g.GetState(), g.GetCopy())
		}
		return nil
	})
	var ups []oracle.Upstream
	for _, d := range b.disks {
		x := disk(t, g.Disks, d.Name)
		ups = append(ups, oracle.Upstream{Disk: d, Socket: x.Socket, Export: x.Export})
	}
	b.relay, err = oracle.NewRelay(b.model, 1, filepath.Join(b.dir, "r"), ups)
	b.must(err)
	t.Cleanup(func() { b.relay.Close() })
	b.anchor()
	return b
}

// end stops the sites and shows the logs of a test that failed. A daemon that
// ended because of a fault fails a test that did not notice.
func (b *bed) end() {
	for _, line := range b.fell() {
		b.Errorf("a daemon ended by itself: %s", line)
	}
	if b.Failed() {
		for _, n := range b.site.Nodes() {
			b.Logf("---- %s\n%s", n.Name, n.LogTail(25))
		}
	}
	b.site.Close()
}

// fell returns what daemons said of a fault that ended them, also of nodes that
// are gone. A node that was removed ends, and shall.
func (b *bed) fell() (lines []string) {
	logs, err := filepath.Glob(filepath.Join(b.dir, "*", "log"))
	b.must(err)
	for _, p := range logs {
		text, err := os.ReadFile(p)
		b.must(err)
		for line := range strings.Lines(string(text)) {
			fatal := strings.Contains(line, `msg="the node must end"`) && !strings.Contains(line, "was removed")
			if fatal || strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ") {
				lines = append(lines, filepath.Base(filepath.Dir(p))+": "+strings.TrimSpace(line))
			}
		}
	}
	return lines
}

func (b *bed) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bed) wait(n *site.Node, what string, ok func(*adminv1.GetStatusResponse, *adminv1.Group) error) *adminv1.Group {
	b.Helper()
	g, err := b.site.Wait(b.ctx, n, patience, what, ok)
	b.must(err)
	return g
}

// anchor holds the source's head against the model: one change, one LSN, and
// none lost.
func (b *bed) anchor() {
	b.Helper()
	drift, err := b.relay.Anchor(func() (redoubt.LSN, error) {
		_, g, err := b.site.Status(b.ctx, b.site.Source)
		return redoubt.LSN(g.GetHead().GetLsn()), err
	})
	b.must(err)
	if drift != 0 {
		b.Fatalf("the source's head is %+d LSNs from what was answered", drift)
	}
}

func (b *bed) clients() map[redoubt.DiskID]*oracle.Client {
	b.Helper()
	cs := map[redoubt.DiskID]*oracle.Client{}
	for _, d := range b.disks {
		c, err := oracle.Dial(b.ctx, b.relay.Socket(d.Name), d.Name)
		b.must(err)
		b.Cleanup(func() { c.Close() })
		cs[d.ID] = c
	}
	return cs
}

// change makes n changes.
func (b *bed) change(n int) {
	b.Helper()
	cs := b.clients()
	for range n {
		op := b.work.Next()
		b.must(op.Do(cs[op.Disk.ID]))
	}
}

// background changes until stop is called, or a change fails. stop returns
// that failure.
func (b *bed) background() (stop func() error) {
	ctx, cancel := context.WithCancel(b.ctx)
	done := b.changeUntil(ctx)
	return func() error { cancel(); return <-done }
}

// changeUntil changes until ctx ends, or a change fails, and says which.
func (b *bed) changeUntil(ctx context.Context) (done chan error) {
	cs := b.clients()
	done = make(chan error, 1)
	go func() {
		for ctx.Err() == nil {
			op := b.work.Next()
			if err := op.Do(cs[op.Disk.ID]); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	return done
}

// killUnderLoad kills the source after so many changes of a load, with a tail
// that nobody else has, and waits until the load meets that.
func (b *bed) killUnderLoad(changes redoubt.LSN) {
	b.Helper()
	at := b.head().LSN
	failed := b.changeUntil(b.ctx)
	b.until(func() bool { return b.head().LSN > at+changes })
	b.site.Source.Kill()
	if <-failed == nil {
		b.Fatal("the load did not notice the kill")
	}
}

// committed waits until everything up to lsn is safe at the secondary.
func (b *bed) committed(lsn redoubt.LSN) {
	b.Helper()
	b.wait(b.site.Source, fmt.Sprintf("LSN %d at the secondary", lsn), func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if got := redoubt.LSN(g.GetCommitted().GetLsn()); got < lsn {
			return fmt.Errorf("committed is %d; link %v", got, g.GetLink())
		}
		return nil
	})
}

// safe waits until every change so far is at the secondary, none lost, and
// returns the position of the last one.
func (b *bed) safe() redoubt.Position {
	b.Helper()
	b.anchor()
	p := b.head()
	b.committed(p.LSN)
	return p
}

// head is the last position that the model knows of the first epoch.
func (b *bed) head() redoubt.Position { return redoubt.Position{Epoch: 1, LSN: b.model.Head(1)} }

// judge compares exported disks, whole, with the model at p.
func (b *bed) judge(exported []*adminv1.Disk, p redoubt.Position) {
	b.Helper()
	b.must(b.state.Seek(p))
	for _, d := range b.disks {
		x := disk(b.T, exported, d.Name)
		c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
		b.must(err)
		path := filepath.Join(b.dir, "got")
		f, err := os.Create(path)
		b.must(err)
		h := sha256.New()
		b.must(errors.Join(f.Truncate(int64(d.Size)), c.CopyTo(writers{h.Write, (&oracle.SparseWriter{F: f}).Write}), f.Close(), c.Close()))
		want, err := b.state.Hash(d.ID)
		b.must(err)
		if oracle.Hash(h.Sum(nil)) != want {
			b.Fatalf("disk %s at %s: %v", d.Name, p, b.state.Judge(d.ID, path))
		}
	}
}

// writers passes each write on to all.
type writers []func([]byte) (int, error)

func (ws writers) Write(p []byte) (int, error) {
	for _, w := range ws {
		if n, err := w(p); err != nil {
			return n, err
		}
	}
	return len(p), nil
}

// judgeSource compares the source's own exports with the model's head.
func (b *bed) judgeSource() {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	b.judge(g.Disks, b.head())
}

// judgePoint opens p on a target, judges it and closes it again.
func (b *bed) judgePoint(n *site.Node, p redoubt.Position) {
	b.Helper()
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", p.String()))
	if got := r.Export.GetPosition(); got.GetEpoch() != uint64(p.Epoch) || got.GetLsn() != uint64(p.LSN) {
		b.Fatalf("asked for %s, got %v", p, got)
	}
	b.judge(r.Export.Disks, p)
	b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
}

func disk(t *testing.T, ds []*adminv1.Disk, name string) *adminv1.Disk {
	t.Helper()
	for _, d := range ds {
		if d.Name == name && d.Socket != "" {
			return d
		}
	}
	t.Fatalf("disk %s is not exported: %v", name, ds)
	return nil
}

// sized returns big, or small with -short.
func sized(big, small int) int {
	if testing.Short() {
		return small
	}
	return big
}
