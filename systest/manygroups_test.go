package systest

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// Many small groups of one source, on three targets: all get their initial copy,
// keep up with writes all over them, and hold the right bytes. What memory and
// how many descriptors that takes is measured. `make groups GROUPS=1000`.
func TestManyGroups(t *testing.T) {
	b := newGroupBed(t, rounds(sized(40, 10)))
	defer func() { verdict(t, "%d groups: %s", b.n, b.text()) }()
	b.begin()
	b.weigh("after the initial copy")
	b.load(time.Duration(sized(10, 3)) * time.Second)
	b.weigh("after the load")
	for range min(b.n, 20) {
		b.judgeGroup(b.rng.IntN(b.n))
	}
}

const (
	smallDisk = 256 << 10
	// catchUp bounds the wait for all groups, whatever else the machine does.
	catchUp = 15 * time.Minute
)

// groupBed is a site with many groups of one small disk.
type groupBed struct {
	*bed
	n       int
	images  [][]byte // what each group's disk holds
	sockets []string
	rows    []string
	changes int
	worst   float64 // lag in seconds while the load ran
	after   time.Duration
}

func newGroupBed(t *testing.T, n int) *groupBed {
	b := &groupBed{bed: &bed{T: t, ctx: t.Context(), seed: newSeed()}, n: n}
	t.Logf("seed %d (-judge.seed)", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 3))
	var err error
	b.dir, err = os.MkdirTemp("", "mg")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: "g0"})
	b.must(err)
	t.Cleanup(b.end)
	b.must(os.Mkdir(filepath.Join(b.dir, "d"), 0o700))
	config, err := os.ReadFile(b.site.Source.Config())
	b.must(err)
	head, _, ok := strings.Cut(string(config), "  groups:\n")
	if !ok {
		t.Fatal("the source's configuration has no groups")
	}
	var s strings.Builder
	s.WriteString(head + "  groups:\n")
	src := rand.NewChaCha8(seedKey(b.seed))
	for i := range n {
		im := make([]byte, smallDisk)
		src.Read(im[:smallDisk/4])
		path := filepath.Join(b.dir, "d", fmt.Sprint(i))
		b.must(os.WriteFile(path, im, 0o600))
		b.images = append(b.images, im)
		fmt.Fprintf(&s, "    - name: g%d\n      journal: {max: 4MiB, segment: 1MiB}\n      disks: [{name: a, path: %s}]\n", i, path)
	}
	b.must(os.WriteFile(b.site.Source.Config(), []byte(s.String()), 0o600))
	return b
}

// begin starts everything and waits for all initial copies.
func (b *groupBed) begin() {
	b.Helper()
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	start := time.Now()
	gs := b.all("initial copies", func(g *adminv1.Group) error {
		if !g.GetCopy().GetComplete() || g.State != "Protected" || len(g.Disks) == 0 {
			return fmt.Errorf("%s is %s", g.Id, g.State)
		}
		return nil
	})
	b.sockets = make([]string, b.n)
	for _, g := range gs {
		var i int
		_, err := fmt.Sscanf(g.Id, "g%d", &i)
		b.must(err)
		b.sockets[i] = g.Disks[0].Socket
	}
	b.rows = append(b.rows, fmt.Sprintf("all copied in %.1f s", time.Since(start).Seconds()))
}

// all waits until the source shows every group and ok accepts each.
func (b *groupBed) all(what string, ok func(*adminv1.Group) error) []*adminv1.Group {
	b.Helper()
	for deadline := time.Now().Add(catchUp); ; time.Sleep(500 * time.Millisecond) {
		st := &adminv1.GetStatusResponse{}
		err := b.site.Call(b.ctx, b.site.Source, st, "status")
		if err == nil && len(st.Groups) != b.n {
			err = fmt.Errorf("%d groups", len(st.Groups))
		}
		bad := 0
		for _, g := range st.Groups {
			if gerr := ok(g); gerr != nil {
				err = gerr
				bad++
			}
		}
		if err == nil {
			return st.Groups
		}
		b.must(b.site.Source.Check())
		if time.Now().After(deadline) {
			b.Fatalf("%s: %d groups not, such as: %v", what, bad, err)
		}
	}
}

// atOnce is how many clients write at the same time.
const atOnce = 16

// load writes to groups at random, 500 changes a second if the site takes them,
// and then waits until all of it is safe.
func (b *groupBed) load(d time.Duration) {
	b.Helper()
	cs := make([]*oracle.Client, b.n)
	for i := range cs {
		c, err := oracle.Dial(b.ctx, b.sockets[i], "a")
		b.must(err)
		defer c.Close()
		cs[i] = c
	}
	end := make(chan struct{})
	var watch, work sync.WaitGroup
	watch.Go(func() { b.watchLag(end) })
	made, failed := make([]int, atOnce), make([]error, atOnce)
	until := time.Now().Add(d)
	for w := range min(atOnce, b.n) {
		work.Go(func() { made[w], failed[w] = b.write(w, cs, until) })
	}
	work.Wait()
	close(end)
	watch.Wait()
	b.must(errors.Join(failed...))
	for _, n := range made {
		b.changes += n
	}
	start := time.Now()
	b.all("all writes at the secondary", func(g *adminv1.Group) error {
		if g.GetCommitted().GetLsn() < g.GetHead().GetLsn() {
			return fmt.Errorf("%s is at %d of %d: %v", g.Id, g.GetCommitted().GetLsn(), g.GetHead().GetLsn(), g.GetLink())
		}
		return nil
	})
	b.after = time.Since(start)
}

// write writes to every 16th group, one of eight writes with FUA.
func (b *groupBed) write(w int, cs []*oracle.Client, until time.Time) (n int, err error) {
	rng, src := rand.New(rand.NewPCG(b.seed, uint64(w))), rand.NewChaCha8(seedKey(b.seed+uint64(w)+1))
	for start := time.Now(); time.Now().Before(until) && err == nil; n++ {
		i := rng.IntN((len(cs)-w+atOnce-1)/atOnce)*atOnce + w
		off := uint64(rng.IntN(smallDisk/4096)) * 4096
		p := b.images[i][off : off+4096]
		src.Read(p)
		err = cs[i].Write(p, off, n%8 == 0)
		time.Sleep(time.Until(start.Add(time.Duration(n) * time.Second * atOnce / 500)))
	}
	return n, err
}

// watchLag notes the worst lag that the source shows.
func (b *groupBed) watchLag(done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case <-time.After(time.Second):
		}
		st := &adminv1.GetStatusResponse{}
		if b.site.Call(b.ctx, b.site.Source, st, "status") == nil {
			for _, g := range st.Groups {
				b.worst = max(b.worst, g.GetLagSeconds())
			}
		}
	}
}

// weigh notes memory, descriptors and threads of each daemon.
func (b *groupBed) weigh(when string) {
	b.Helper()
	for _, n := range b.site.Nodes() {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", n.Pid()))
		b.must(err)
		threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", n.Pid()))
		b.must(err)
		rss := resident(n.Pid())
		b.rows = append(b.rows, fmt.Sprintf("%s, %s: %d MiB (%d KiB a group), %d descriptors (%.1f a group), %d threads",
			when, n.Name, rss>>20, rss>>10/int64(b.n), len(fds), float64(len(fds))/float64(b.n), len(threads)))
	}
}

// judgeGroup opens the newest point of a group and compares its disk.
func (b *groupBed) judgeGroup(i int) {
	b.Helper()
	n, name := b.site.Targets[b.rng.IntN(len(b.site.Targets))], fmt.Sprint("g", i)
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", name))
	c, err := oracle.Dial(b.ctx, r.Export.Socket, "a")
	b.must(err)
	got := make([]byte, smallDisk)
	_, err = c.ReadAt(got, 0)
	b.must(errors.Join(err, c.Close()))
	if !bytes.Equal(got, b.images[i]) {
		b.Fatalf("group %s: its newest point differs", name)
	}
	b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", name, r.Export.Id))
}

func (b *groupBed) text() string {
	load := fmt.Sprintf("%d changes, worst lag %.1f s, all safe %.1f s after the last", b.changes, b.worst, b.after.Seconds())
	return strings.Join(slices.Concat(b.rows, []string{load}), "\n  ")
}
