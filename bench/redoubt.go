package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// patience is how long daemons may take to do what they must.
const patience = 5 * time.Minute

// journalMax is the journal that a job can fill. Without replication nothing
// of it is trimmed, and with it the sender may fall behind.
func (o options) journalMax(j job) int64 {
	const least = 256 << 20
	if j.disk == diskLong {
		return least + o.long + o.long/8
	}
	seconds := o.seconds
	if o.replicate {
		seconds += o.rpoSeconds / 2
	}
	return least + j.journal<<20*int64(seconds)
}

// startRedoubt serves a protected disk. Without replication the targets are
// never started.
func startRedoubt(ctx context.Context, o options, j job, replicate bool) (*target, error) {
	dir, img, err := workplace(o, j.disk)
	if err != nil {
		return nil, err
	}
	journal := ""
	if o.journalDir != "" {
		if journal, err = os.MkdirTemp(o.journalDir, "j"); err != nil {
			return nil, err
		}
	}
	clean := func() error {
		if journal != "" {
			return errors.Join(os.RemoveAll(journal), os.RemoveAll(dir))
		}
		return os.RemoveAll(dir)
	}
	s, err := site.New(ctx, site.Options{BinDir: o.bin, Dir: dir, Group: "bench", JournalMax: fmt.Sprintf("%dMiB", o.journalMax(j)>>20),
		JournalDir: journal, Preallocate: true, Disks: []site.Disk{{Name: "disk", Path: img}}})
	if err != nil {
		return nil, errors.Join(err, clean())
	}
	t := &target{stop: func() error { return errors.Join(stopSite(s), clean()) }}
	if replicate {
		err = startTargets(ctx, s)
	}
	if err == nil {
		err = s.Source.Start()
	}
	if err == nil {
		err = t.connect(ctx, s, replicate)
	}
	if err != nil {
		return nil, errors.Join(err, t.stop())
	}
	return t, nil
}

// connect waits until the disk is served and, with replication, copied.
func (t *target) connect(ctx context.Context, s *site.Site, replicate bool) error {
	g, err := s.Wait(ctx, s.Source, patience, "the disk's socket", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g == nil || len(g.Disks) != 1 || g.Disks[0].Socket == "" {
			return errors.New("not served yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	t.engine = nbdEngine(g.Disks[0].Socket, g.Disks[0].Export)
	if !replicate {
		return nil
	}
	t.lag = func(ctx context.Context) (float64, error) { return lag(ctx, s) }
	t.drain = func(ctx context.Context) error { return drain(ctx, s) }
	return t.drain(ctx)
}

// stopSite ends the source in order, so that its image is whole, and the targets.
func stopSite(s *site.Site) error {
	var err error
	if s.Source.Alive() {
		err = s.Source.Stop(time.Minute)
	}
	s.Close()
	if err != nil {
		return fmt.Errorf("%w; log of %s:\n%s", err, filepath.Base(s.Source.Dir), s.Source.LogTail(10))
	}
	return nil
}
