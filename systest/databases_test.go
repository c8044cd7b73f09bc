package systest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/systest/dbload"
)

// database is what dbload's witnesses have in common.
type database interface {
	Name() string
	Can() error
	Create() error
	Open() error
	Commit(n int) error
	Close() error
	Kill()
	Check() (n int, err error)
}

// witness is a database on the protected disk and what its client knows.
type witness struct {
	database
	ledger dbload.Ledger
}

// dbBed is a site with a mounted file system that holds the databases.
type dbBed struct {
	*bed
	witnesses []*witness
	pg        *dbload.Postgres
	lite      *dbload.SQLite
	mount     *site.Mount
	lives     int
	points    int
	loads     chan error   // how the load of each database ended
	stop      func() error // ends the load
	spans     []timeSpan   // in which there was a load
}

// F1, F2, B2 and T1 as databases see them: PostgreSQL and SQLite commit
// transactions on a protected file system; after an unplanned and a planned
// failover, after the way back from each, and at random times of the past their
// own checks are clean, and exactly the transactions are there that must be.
// `make databases ROUNDS=40`.
func TestDatabases(t *testing.T) {
	points := rounds(sized(4, 1))
	b := newDBBed(t)
	defer func() {
		verdict(t, "%d points, unplanned and planned failover and both ways back: every answered transaction is where it must be (%d of %s, %d of %s)", b.points,
			b.witnesses[0].ledger.Answered(), b.witnesses[0].Name(), b.witnesses[1].ledger.Answered(), b.witnesses[1].Name())
	}()
	b.load()
	b.commits(time.Duration(max(points/4, 4)) * time.Second)
	b.unplanned()
	b.open()
	b.load()
	b.commits(2 * time.Second)
	b.planned()
	b.give(false)
	for range points {
		b.point(b.moment())
	}
}

// unplanned kills the source under load and goes on at the secondary: what it
// promoted is all that is there. Then it comes back, with the disks mounted.
func (b *dbBed) unplanned() {
	b.Helper()
	b.site.Source.Kill()
	b.broken()
	b.give(true)
	prod := b.site.Targets[b.rng.IntN(3)]
	r := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "unplanned", groupName))
	point := r.Promotion.PointTime.AsTime().UnixNano()
	b.take(r.Export.Disks)
	for _, w := range b.witnesses {
		w.ledger.Cut(b.holds(w, "after the failover", point, point))
	}
	b.back(prod, func() {
		b.must(b.site.Source.Start())
		b.fenced()
		b.must(b.site.Call(b.ctx, prod, nil, "reverse", groupName, "--wait"))
	})
}

// planned moves production on purpose while the databases commit: whatever was
// answered is there. Then it comes back, by the way that has begun by itself.
func (b *dbBed) planned() {
	b.Helper()
	prod := b.site.Targets[b.rng.IntN(3)]
	r := &adminv1.PlannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, r, "failover", "planned", groupName, "--node", prod.Name))
	b.broken()
	ended := time.Now().UnixNano()
	b.give(true)
	_, g, err := b.site.Status(b.ctx, prod)
	b.must(err)
	b.take(g.Disks)
	for _, w := range b.witnesses {
		w.ledger.Cut(b.holds(w, "after the planned failover", b.asked(r.Job), ended))
	}
	b.Logf("nobody could write for %d ms", r.Job.PausedMs)
	b.back(prod, func() { b.wait(prod, "the way back to begin by itself", inSync) })
}

// asked returns when the source was asked to stop its writers. What a database
// answered before must be there. What it answers later it may have from a file
// system whose disk takes no writes any more: ext4 has answered such an fsync
// with success.
func (b *dbBed) asked(j *adminv1.Job) int64 {
	b.Helper()
	for _, s := range j.Steps {
		if s.Step == "ship" {
			return s.At.AsTime().UnixNano()
		}
	}
	b.Fatalf("the job has no step ship: %v", j.Steps)
	return 0
}

// back works at the secondary, commits the failover, has reverse put the old
// primary in sync, and fails back to it. It leaves the disks mounted there.
func (b *dbBed) back(prod *site.Node, reverse func()) {
	b.Helper()
	b.open()
	b.load()
	b.commits(2 * time.Second)
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
	reverse()
	b.commits(time.Second)
	b.must(b.stop())
	ended := time.Now().UnixNano()
	for _, w := range b.witnesses {
		b.must(w.Close())
	}
	b.give(false)
	f := &adminv1.FailbackResponse{}
	b.must(b.site.Call(b.ctx, prod, f, "failback", groupName))
	b.writable(redoubt.Epoch(f.Epoch))
	b.take(b.served())
	for _, w := range b.witnesses {
		b.holds(w, "after the failback", ended, ended)
	}
}

// newDBBed makes the databases on a file system on the protected disk, and
// leaves them open.
func newDBBed(t *testing.T) *dbBed {
	t.Helper()
	if err := site.CanMount(); err != nil {
		t.Skipf("no file system on an NBD export here: %v", err)
	}
	b := &dbBed{bed: &bed{T: t, ctx: t.Context(), seed: newSeed()}, pg: &dbload.Postgres{}, lite: &dbload.SQLite{}}
	b.witnesses = []*witness{{database: b.pg}, {database: b.lite}}
	for _, w := range b.witnesses {
		if err := w.Can(); err != nil {
			t.Skipf("no %s here: %v (packages postgresql and sqlite3)", w.Name(), err)
		}
	}
	t.Logf("seed %d (-judge.seed)", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 2))
	var err error
	b.dir, err = os.MkdirTemp("", "db")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	b.must(os.Chmod(b.dir, 0o711)) // the server's user passes through
	img := filepath.Join(b.dir, "a")
	b.must(os.WriteFile(img, nil, 0o600))
	b.must(os.Truncate(img, 320<<20))
	tool(b.bed, "mke2fs", "-q", "-F", "-t", "ext4", img)
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "512MiB", Segment: "4MiB", Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	t.Cleanup(func() { b.give(true) })
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	b.wait(b.site.Source, "the initial copy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetCopy().GetComplete() || g.State != "Protected" {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	b.take(b.served())
	for _, w := range b.witnesses {
		b.must(w.Create())
	}
	tool(b.bed, "sync", "-f", b.mount.Path)
	return b
}

func (b *dbBed) served() []*adminv1.Disk {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	return g.Disks
}

// take mounts the file system of an export and points the databases there.
func (b *dbBed) take(exported []*adminv1.Disk) {
	b.Helper()
	x := disk(b.T, exported, "a")
	b.lives++
	dir := filepath.Join(b.dir, fmt.Sprint("m", b.lives))
	var err error
	b.mount, err = site.MountNBD(b.ctx, dir, x.Socket, x.Export)
	b.must(err)
	b.must(errors.Join(os.Chmod(dir, 0o711), os.Chmod(b.mount.Path, 0o711)))
	b.pg.Dir, b.pg.Run = filepath.Join(b.mount.Path, "pg"), filepath.Join(b.dir, fmt.Sprint("run", b.lives))
	b.lite.Dir = b.mount.Path
}

// give unmounts; with dead the disk is gone and errors are of no interest.
func (b *dbBed) give(dead bool) {
	if b.mount == nil {
		return
	}
	if dead {
		for _, w := range b.witnesses {
			w.Kill()
		}
	}
	err := b.mount.Close()
	b.mount = nil
	if err != nil && !dead {
		b.Fatal(err)
	}
}

func (b *dbBed) open() {
	b.Helper()
	for _, w := range b.witnesses {
		b.must(w.Open())
	}
}

// load commits on all databases at once until b.stop, which returns the first
// failures, or until the disk takes no writes any more (see broken).
func (b *dbBed) load() {
	ctx, cancel := context.WithCancel(b.ctx)
	b.loads = make(chan error, len(b.witnesses))
	b.spans = append(b.spans, timeSpan{from: time.Now().UnixNano()})
	for _, w := range b.witnesses {
		go func() {
			var err error
			for ctx.Err() == nil && err == nil {
				err = w.ledger.Do(w.Commit)
			}
			b.loads <- err
		}()
	}
	b.stop = func() (err error) {
		cancel()
		for range b.witnesses {
			err = errors.Join(err, <-b.loads)
		}
		b.spans[len(b.spans)-1].to = time.Now().UnixNano()
		return err
	}
}

// broken waits until every database has failed because its disk did.
func (b *dbBed) broken() {
	b.Helper()
	late := time.After(patience)
	for range b.witnesses {
		select {
		case err := <-b.loads:
			if err == nil {
				b.Fatal("a load ended without an error")
			}
		case <-late:
			b.Fatal("a database did not notice that its disk takes no writes")
		}
	}
	b.spans[len(b.spans)-1].to = time.Now().UnixNano()
}

// timeSpan is between two times, in Unix nanoseconds.
type timeSpan struct{ from, to int64 }

// moment returns a random time at which there was a load.
func (b *dbBed) moment() int64 {
	var all int64
	for _, s := range b.spans {
		all += s.to - s.from
	}
	n := b.rng.Int64N(all)
	for _, s := range b.spans {
		if n < s.to-s.from {
			return s.from + n
		}
		n -= s.to - s.from
	}
	return 0
}

// commits lets the load go on for a while, as long as it makes progress.
func (b *dbBed) commits(d time.Duration) {
	b.Helper()
	var from []int
	for _, w := range b.witnesses {
		from = append(from, w.ledger.Answered())
	}
	time.Sleep(d) // the length of the history is what is wanted
	for i, w := range b.witnesses {
		b.until(func() bool { return w.ledger.Answered() > from[i]+20 })
	}
}

// holds opens and checks a database on the mounted state that was taken between
// from and to, and returns how many transactions it has.
func (b *dbBed) holds(w *witness, when string, from, to int64) int {
	b.Helper()
	least, most := w.ledger.At(from, to)
	if err := w.Open(); err != nil {
		b.Fatalf("%s, %s does not open: %v", when, w.Name(), err)
	}
	n, err := w.Check()
	if err != nil {
		b.Fatalf("%s, %s: %v", when, w.Name(), err)
	}
	if n < least || n > most {
		b.Fatalf("%s, %s has %d transactions, %d were answered and %d sent", when, w.Name(), n, least, most)
	}
	b.Logf("%s, %s: its checks are clean, transactions 1 to %d are there; %d were answered, %d sent", when, w.Name(), n, least, most)
	return n
}

// point opens a time of the past and checks the databases there.
func (b *dbBed) point(at int64) {
	b.Helper()
	n := b.site.Targets[b.rng.IntN(3)]
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", fmt.Sprintf("unix:%d", at)))
	b.take(r.Export.Disks)
	for _, w := range b.witnesses {
		b.holds(w, r.Export.Position.String(), at, at)
	}
	b.give(false)
	b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
	b.points++
}
