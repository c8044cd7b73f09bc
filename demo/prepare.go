package demo

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

func (t *tour) path(elem ...string) string { return filepath.Join(append([]string{t.dir}, elem...)...) }

func (t *tour) buildSites(ctx context.Context) (err error) {
	t.disks = []redoubt.Disk{{ID: 1, Name: "files", Size: fsSize}, {ID: 2, Name: "raw", Size: rawSize}}
	t.site, err = site.New(ctx, site.Options{BinDir: t.o.BinDir, Dir: t.dir, Group: group,
		Disks: []site.Disk{{Name: "files", Path: t.path("files.img")}, {Name: "raw", Path: t.path("raw.img")}}})
	if err != nil {
		return err
	}
	for _, n := range t.site.Targets {
		if err := n.Start(); err != nil {
			return err
		}
	}
	began := time.Now()
	leader := ""
	_, err = t.site.Wait(ctx, t.site.Targets[0], patience, "a cluster of three with a leader", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) error {
		alive := 0
		for _, n := range st.Cluster {
			if n.Alive {
				alive++
			}
			if n.Leader {
				leader = n.Id
			}
		}
		if leader == "" || alive < len(t.site.Targets) {
			return fmt.Errorf("leader %q, %d of %d alive", leader, alive, len(t.site.Targets))
		}
		return nil
	})
	t.fact("cluster", "3 targets, leader %s, after %.1f s; shards 2+1", leader, time.Since(began).Seconds())
	return err
}

func (t *tour) makeDisks(ctx context.Context) (err error) {
	if t.tree, err = site.FindTree(); err != nil {
		return err
	}
	md := []oracle.Disk{{Disk: t.disks[0], Base: t.path("files.base")}, {Disk: t.disks[1], Base: t.path("raw.base")}}
	err = errors.Join(
		site.MakeExt4(ctx, t.path("files.img"), t.tree, fsSize),
		site.MakeRaw(t.path("raw.img"), rawSize, t.o.Seed),
		site.CopyFile(ctx, t.path("files.img"), md[0].Base),
		site.CopyFile(ctx, t.path("raw.img"), md[1].Base))
	if err != nil {
		return err
	}
	t.fact("files", "ext4, %s, made from %s", size(fsSize), t.tree)
	t.fact("raw", "%s, a third of it a hole", size(rawSize))
	if t.model, err = oracle.New(t.path("model"), md); err != nil {
		return err
	}
	t.epoch = 1
	t.state, err = t.model.State()
	return err
}

// protect starts the source, its users, and sees the copy through.
func (t *tour) protect(ctx context.Context) error {
	if err := t.site.Source.Start(); err != nil {
		return err
	}
	g, err := t.site.Wait(ctx, t.site.Source, patience, "the source's disks", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g == nil || len(g.Disks) < 2 || g.Disks[0].Socket == "" {
			return errors.New("not exported yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	began := time.Now()
	if err := t.use(ctx, "r1", 1, g.Disks); err != nil {
		return err
	}
	if err := t.startWriting(3); err != nil {
		return err
	}
	shown := time.Now()
	g, err = t.site.Wait(ctx, t.site.Source, 90*time.Second, "the end of the initial copy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		c := g.GetCopy()
		if c != nil && time.Since(shown) > time.Second {
			shown = time.Now()
			t.progress("%s: copied %s of %s", g.State, size(c.DoneBytes), size(c.TotalBytes))
		}
		if !c.GetComplete() || g.State != "Protected" {
			return fmt.Errorf("state %s, copied %d of %d bytes", g.GetState(), c.GetDoneBytes(), c.GetTotalBytes())
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := t.load.failed(); err != nil {
		return fmt.Errorf("a write failed during the copy: %w", err)
	}
	n, bytes := t.model.Count(1)
	t.headline("initial copy", "%s of disks in %.1f s (shipped %s, on the wire %s)", size(fsSize+rawSize),
		time.Since(began).Seconds(), size(g.GetLink().GetRawBytes()), size(g.GetLink().GetWireBytes()))
	t.fact("written meanwhile", "%d changes, %s", n, size(bytes))
	_, err = t.anchor(ctx, t.site.Source)
	return err
}

// use puts a relay that records epoch e in front of exported disks and mounts
// the file system through it.
func (t *tour) use(ctx context.Context, name string, e redoubt.Epoch, exported []*adminv1.Disk) (err error) {
	t.unmount()
	if t.relay != nil {
		t.relay.Close()
		t.relay = nil
	}
	var ups []oracle.Upstream
	for _, d := range t.disks {
		x, err := find(exported, d.Name)
		if err != nil {
			return err
		}
		if x.Size != d.Size {
			return fmt.Errorf("disk %s is exported with %d bytes, it has %d", d.Name, x.Size, d.Size)
		}
		ups = append(ups, oracle.Upstream{Disk: d, Socket: x.Socket, Export: x.Export})
	}
	t.epoch = e
	if t.relay, err = oracle.NewRelay(t.model, e, t.path(name), ups); err != nil {
		return err
	}
	if why := site.CanMount(); why != nil {
		t.fact("file system", "not mounted (%v): only raw blocks are written", why)
		return nil
	}
	t.mount, err = site.MountNBD(ctx, t.path(name+"m"), t.relay.Socket("files"), "files")
	return err
}

func (t *tour) startWriting(seed uint64) (err error) {
	dir := ""
	if t.mount != nil {
		dir = t.mount.Path
	}
	t.load, err = startLoad(dir, t.relay, t.disks[1:], t.o.Seed+seed)
	return err
}

// stopWriting ends the users and says what they did.
func (t *tour) stopWriting() error {
	l := t.load
	t.load = nil
	if l == nil {
		return nil
	}
	if err := l.end(); err != nil {
		return fmt.Errorf("a write failed: %w", err)
	}
	return nil
}

// anchor tells the model the writer's head, while nobody writes for a moment.
func (t *tour) anchor(ctx context.Context, writer *site.Node) (drift int64, err error) {
	return t.relay.Anchor(func() (redoubt.LSN, error) {
		_, g, err := t.site.Status(ctx, writer)
		if err != nil {
			return 0, err
		}
		if got := redoubt.Epoch(g.GetHead().GetEpoch()); got != t.epoch {
			return 0, fmt.Errorf("%s writes epoch %d, expected %d", writer.Name, got, t.epoch)
		}
		return redoubt.LSN(g.GetHead().GetLsn()), nil
	})
}

func find(disks []*adminv1.Disk, name string) (*adminv1.Disk, error) {
	for _, d := range disks {
		if d.Name == name {
			return d, nil
		}
	}
	return nil, fmt.Errorf("no exported disk %q", name)
}
