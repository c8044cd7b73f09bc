package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

const (
	patience = 5 * time.Minute
	group    = "bench"
)

// cost is what taking a job in took.
type cost struct {
	seconds         float64
	first           float64 // of seconds, until the first delta was committed
	source, targets used
	index           float64 // bytes of targets.written that are in the index
}

// ingest starts a site and measures the first copy: from the start of the
// source until everything is committed at the secondary.
func ingest(ctx context.Context, o options, dir string, j job, round int) (c cost, reads []reading, err error) {
	work, err := os.MkdirTemp(dir, "s")
	if err != nil {
		return c, nil, err
	}
	s, err := site.New(ctx, site.Options{BinDir: o.bin, Dir: work, Group: group, Disks: []site.Disk{{Name: "disk", Path: j.images[0]}}})
	if err != nil {
		return c, nil, err
	}
	defer func() {
		s.Close()
		err = errors.Join(err, os.RemoveAll(work))
	}()
	if err := manyGroups(s, j.images); err != nil {
		return c, nil, err
	}
	for _, n := range s.Targets {
		if err := n.Start(); err != nil {
			return c, nil, err
		}
	}
	if err := awaitCluster(ctx, s); err != nil {
		return c, nil, err
	}
	unix.Sync()
	before, err := usage(s.Targets)
	if err != nil {
		return c, nil, err
	}
	start := time.Now()
	if err := s.Source.Start(); err != nil {
		return c, nil, err
	}
	first, err := awaitCopied(ctx, s, len(j.images))
	if err != nil {
		return c, nil, err
	}
	c.seconds, c.first = time.Since(start).Seconds(), first.Sub(start).Seconds()
	after, err := usage(s.Targets)
	if err != nil {
		return c, nil, err
	}
	if c.source, err = usage([]*site.Node{s.Source}); err != nil {
		return c, nil, err
	}
	c.targets = after.minus(before)
	for _, n := range s.Targets {
		c.index += folderBytes(filepath.Join(n.Dir, "data", "target", "index"))
	}
	if len(j.images) == 1 && o.back {
		reads, err = readBack(ctx, s, dir, o, j, round)
		return c, reads, err
	}
	return c, nil, nil
}

// manyGroups gives the source a group for each image.
func manyGroups(s *site.Site, images []string) error {
	b, err := os.ReadFile(s.Source.Config())
	if err != nil {
		return err
	}
	head, one, ok := strings.Cut(string(b), "    - name: "+group+"\n")
	if !ok {
		return errors.New("the configuration has no group")
	}
	var all strings.Builder
	all.WriteString(head)
	for i, img := range images {
		fmt.Fprintf(&all, "    - name: %s%s\n%s", group, suffix(i), strings.ReplaceAll(one, images[0], img))
	}
	return os.WriteFile(s.Source.Config(), []byte(all.String()), 0o600)
}

func suffix(i int) string {
	if i == 0 {
		return ""
	}
	return fmt.Sprint(i)
}

func awaitCluster(ctx context.Context, s *site.Site) error {
	_, err := s.Wait(ctx, s.Targets[0], patience, "a cluster with a leader", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) error {
		alive, leader := 0, false
		for _, n := range st.GetCluster() {
			leader = leader || n.Leader
			if n.Alive {
				alive++
			}
		}
		if !leader || alive < len(s.Targets) {
			return fmt.Errorf("leader %v, %d alive", leader, alive)
		}
		return nil
	})
	return err
}

// awaitCopied returns when something was committed for the first time.
func awaitCopied(ctx context.Context, s *site.Site, groups int) (first time.Time, err error) {
	// Not through the command: starting it ten times a second would take a
	// seventh of the processors.
	c, err := admin.Dial("unix:"+s.Source.AdminSocket(), nil)
	if err != nil {
		return first, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		st, err := c.GetStatus(ctx, &adminv1.GetStatusRequest{})
		done := 0
		for _, g := range st.GetGroups() {
			if first.IsZero() && g.GetCommitted().GetLsn() > 0 {
				first = time.Now()
			}
			if g.GetCopy().GetComplete() && g.GetHead().GetLsn() > 0 && g.GetCommitted().GetLsn() >= g.GetHead().GetLsn() {
				done++
			}
		}
		if err == nil && done == groups {
			return first, nil
		}
		if ctx.Err() != nil || !s.Source.Alive() {
			return first, fmt.Errorf("%d of %d groups are copied: %w; log of the source:\n%s", done, groups, errors.Join(ctx.Err(), err), s.Source.LogTail(5))
		}
		// The operator's view can only be polled; each look takes a millisecond of
		// the source's processor time.
		time.Sleep(50 * time.Millisecond)
	}
}

// nbdcopyIn returns the seconds that nbdcopy takes for the same images into
// nbdkit on the same file system, flushed, one after the other.
func nbdcopyIn(ctx context.Context, dir string, images []string) (float64, error) {
	unix.Sync()
	var total float64
	for _, img := range images {
		out := filepath.Join(dir, "copy")
		fi, err := os.Stat(img)
		if err != nil {
			return 0, err
		}
		if err := os.WriteFile(out, nil, 0o600); err != nil {
			return 0, err
		}
		if err := os.Truncate(out, fi.Size()); err != nil {
			return 0, err
		}
		start := time.Now()
		cmd := exec.CommandContext(ctx, "nbdkit", "-U", "-", "file", out, "--run", `nbdcopy --flush "`+img+`" "$uri"`)
		if b, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("nbdcopy: %w: %s", err, b)
		}
		total += time.Since(start).Seconds()
		if err := os.Remove(out); err != nil {
			return 0, err
		}
	}
	return total, nil
}

func randomImage(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	var seed [32]byte
	copy(seed[:], filepath.Base(path))
	_, err = io.CopyN(f, rand.NewChaCha8(seed), size)
	return errors.Join(err, f.Close())
}
