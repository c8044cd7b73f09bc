package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

const (
	group    = "g"
	diskName = "a"
	page     = 4096
	hurried  = 64 << 10 // length of the backlog's writes
	history  = 32 << 20 // written before anything is measured
	patience = 2 * time.Minute
)

// result is one row; times in milliseconds but failback, in seconds.
type result struct {
	testP50, testMax, unplanned, failback float64
	planned, home                         move
}

// move is how a client sees production move on purpose, in milliseconds.
type move struct {
	first float64 // from the command to its first write at the other site
	pause float64 // from its last write here to that
	said  uint64  // the pause by redoubtd's own account
}

// bench is a site with one disk.
type bench struct {
	*site.Site
	ctx  context.Context
	size uint64
	rng  *rand.Rand
	buf  []byte
}

func one(ctx context.Context, o options, size, backlog uint64) (r result, err error) {
	dir, err := os.MkdirTemp(o.dir, "rf")
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	image := filepath.Join(dir, "image")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, int64(size))); err != nil {
		return r, err
	}
	s, err := site.New(ctx, site.Options{BinDir: o.bin, Dir: dir, Group: group, Disks: []site.Disk{{Name: diskName, Path: image}}, JournalMax: "2GiB"})
	if err != nil {
		return r, err
	}
	defer s.Close()
	b := &bench{Site: s, ctx: ctx, size: size, rng: rand.New(rand.NewPCG(size, backlog)), buf: make([]byte, hurried)}
	for _, n := range s.Nodes() {
		if err := n.Start(); err != nil {
			return r, err
		}
	}
	if err := b.history(); err != nil {
		return r, err
	}
	if r.testP50, r.testMax, err = b.tests(o.opens); err != nil {
		return r, err
	}
	if err := b.onPurpose(&r, backlog); err != nil {
		return r, err
	}
	return r, b.thereAndBack(&r, backlog)
}

// history fills the disk a little and waits until that is safe.
func (b *bench) history() error {
	g, err := b.Wait(b.ctx, b.Source, patience, "the initial copy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetCopy().GetComplete() || g.State != "Protected" || len(g.Disks) == 0 {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := b.hurry(g.Disks[0], history); err != nil {
		return err
	}
	_, err = b.Wait(b.ctx, b.Source, patience, "the history", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetCommitted().GetLsn() < g.GetHead().GetLsn() {
			return fmt.Errorf("at %v of %v", g.GetCommitted(), g.GetHead())
		}
		return nil
	})
	return err
}

// hurry writes n bytes that do not compress, anywhere, and does not wait for the
// secondary.
func (b *bench) hurry(d *adminv1.Disk, n uint64) error {
	c, err := oracle.Dial(b.ctx, d.Socket, d.Export)
	if err != nil {
		return err
	}
	defer c.Close()
	for range n / hurried {
		for i := 0; i < len(b.buf); i += 8 {
			v := b.rng.Uint64()
			for k := range 8 {
				b.buf[i+k] = byte(v >> (8 * k))
			}
		}
		if err := c.Write(b.buf, b.rng.Uint64N(b.size/hurried)*hurried, false); err != nil {
			return err
		}
	}
	return c.Flush()
}

// write makes one durable write to an export.
func (b *bench) write(d *adminv1.Disk) error {
	c, err := oracle.Dial(b.ctx, d.Socket, d.Export)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.Write(b.buf[:page], b.rng.Uint64N(b.size/page)*page, true)
}

// tests measures test failovers to random points.
func (b *bench) tests(opens int) (p50, most float64, err error) {
	var all []float64
	for range opens {
		n := b.Targets[b.rng.IntN(len(b.Targets))]
		start := time.Now()
		r := &adminv1.TestFailoverResponse{}
		if err := b.Call(b.ctx, n, r, "failover", "test", group); err != nil {
			return 0, 0, err
		}
		if err := b.write(r.Export.Disks[0]); err != nil {
			return 0, 0, err
		}
		all = append(all, since(start))
		if err := b.Call(b.ctx, n, nil, "failover", "cleanup", group, r.Export.Id); err != nil {
			return 0, 0, err
		}
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)-1], nil
}

// onPurpose measures a planned failover behind a burst of writes, and takes it
// back: the source goes on.
func (b *bench) onPurpose(r *result, backlog uint64) error {
	_, g, err := b.Status(b.ctx, b.Source)
	if err != nil {
		return err
	}
	here := g.Disks[0]
	if err := b.hurry(here, backlog); err != nil {
		return err
	}
	prod := b.Targets[2]
	there := &adminv1.Disk{Export: here.Name, Socket: filepath.Join(prod.Dir, "run", "export", group+".sock")}
	f := &adminv1.PlannedFailoverResponse{}
	if err := b.moves(&r.planned, here, there, func() error {
		return b.Call(b.ctx, prod, f, "failover", "planned", group, "--node", prod.Name)
	}); err != nil {
		return err
	}
	r.planned.said = f.Job.GetPausedMs()
	if err := b.Call(b.ctx, prod, nil, "failover", "cancel", group); err != nil {
		return err
	}
	_, err = b.Wait(b.ctx, b.Source, patience, "the source to go on", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetReadOnly() || g.State != "Protected" || g.GetCommitted().GetLsn() < g.GetHead().GetLsn() {
			return fmt.Errorf("state %s", g.GetState())
		}
		return nil
	})
	return err
}

// moves has a client write page by page at one site and, once refused, at the
// other, while call moves production.
func (b *bench) moves(m *move, from, to *adminv1.Disk, call func() error) error {
	start, answer := time.Now(), make(chan error, 1)
	go func() { answer <- call() }()
	last, answered := start, false
	for d := from; ; {
		select {
		case err := <-answer:
			if err != nil {
				return err
			}
			answered = true
		default:
		}
		err := b.write(d)
		if err == nil && d == to {
			break
		}
		switch {
		case err == nil:
			last = time.Now()
		case time.Since(last) > patience:
			return fmt.Errorf("no site takes writes: %w", err)
		default: // the other one may, by now
			d = to
			time.Sleep(time.Millisecond)
		}
	}
	m.first, m.pause = since(start), since(last)
	if answered {
		return nil
	}
	return <-answer
}

// thereAndBack measures an unplanned failover behind a burst of writes, and the
// failback behind another.
func (b *bench) thereAndBack(r *result, backlog uint64) error {
	_, g, err := b.Status(b.ctx, b.Source)
	if err != nil {
		return err
	}
	if err := b.hurry(g.Disks[0], backlog); err != nil {
		return err
	}
	b.Source.Kill()
	prod := b.Targets[1]
	start := time.Now()
	u := &adminv1.UnplannedFailoverResponse{}
	if err := b.Call(b.ctx, prod, u, "failover", "unplanned", group); err != nil {
		return err
	}
	there := u.Export.Disks[0]
	if err := b.write(there); err != nil {
		return err
	}
	r.unplanned = since(start)
	if err := errors.Join(b.Call(b.ctx, prod, nil, "failover", "commit", group), b.Source.Start()); err != nil {
		return err
	}
	if _, err := b.Wait(b.ctx, b.Source, patience, "the fence", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetReadOnly() {
			return errors.New("not yet")
		}
		return nil
	}); err != nil {
		return err
	}
	if err := b.Call(b.ctx, prod, nil, "reverse", group, "--wait"); err != nil {
		return err
	}
	return b.back(r, prod, there, g.Disks[0], backlog)
}

// back measures the failback.
func (b *bench) back(r *result, prod *site.Node, there, here *adminv1.Disk, backlog uint64) error {
	if err := b.hurry(there, backlog); err != nil {
		return err
	}
	start, f := time.Now(), &adminv1.FailbackResponse{}
	if err := b.moves(&r.home, there, here, func() error { return b.Call(b.ctx, prod, f, "failback", group) }); err != nil {
		return err
	}
	r.failback, r.home.said = time.Since(start).Seconds(), f.PausedMs
	return nil
}

func since(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }
