package check

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/target/export"
)

// run is one check.
type run struct {
	c      *Checker
	req    Request
	script hook.Script
	begin  time.Time
	id     string
	dir    string // scratch folder
}

// script finds the script, and the hash of what it is now.
func (c *Checker) script(name string) (hook.Script, string, error) {
	if c.o.Scripts == "" {
		return hook.Script{}, "", &redoubt.Error{Op: "check recovery points", Err: redoubt.ErrState, Hint: "this node has no check scripts: target.checks.scripts in its configuration names their folder"}
	}
	s, err := c.o.Scripts.Find(name)
	if err != nil {
		return s, "", err
	}
	f, err := os.Open(s.Path)
	if err != nil {
		return s, "", err
	}
	defer func() { _ = f.Close() }()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return s, hex.EncodeToString(h.Sum(nil)), err
}

// carryOut opens the point, looks at it and closes it.
func (r *run) carryOut(ctx context.Context) (out *Receipt, err error) {
	var salt [4]byte
	_, _ = rand.Read(salt[:])
	now := r.c.o.Now()
	r.id = now.UTC().Format("20060102T150405Z-") + hex.EncodeToString(salt[:])
	r.dir = filepath.Join(r.c.o.Dir, r.id)
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return nil, err
	}
	defer r.c.begin(r.id)()
	defer func() { err = errors.Join(err, dropScratch(r.dir)) }()
	in, err := r.c.o.Exports.TestFor(ctx, r.id, r.req.Group, r.req.At)
	if err != nil {
		return nil, err
	}
	defer func() {
		_, _, cerr := r.c.o.Exports.Cleanup(in.Group, in.ID)
		err = errors.Join(err, cerr)
	}()
	out = &Receipt{Passed: true, Exit: -1, Version: receiptVersion, ID: r.id, Group: in.Group, GroupUUID: in.UUID, Point: in.Point, PointTime: in.Time.UTC(), Node: r.c.o.Name,
		Script: r.script.Name, Started: now.UTC()}
	for _, step := range []func(context.Context, *export.Instance, *Receipt) error{r.firstBytes, r.look, r.digest} {
		err := step(ctx, in, out)
		if ctx.Err() != nil {
			return nil, &redoubt.Error{Op: "check group", Object: string(in.Group), Err: fmt.Errorf("given up: %w", context.Cause(ctx))}
		}
		if err != nil {
			out.fail(err)
		}
	}
	out.Finished = r.c.o.Now().UTC()
	return out, nil
}

// fail makes err the verdict, or a part of it: a point that cannot be read is
// not a check that could not be carried out.
func (r *Receipt) fail(err error) {
	r.Passed = false
	if r.Problem != "" {
		r.Problem += "; "
	}
	r.Problem += err.Error()
	r.Problem = r.Problem[:min(len(r.Problem), maxTail)]
}

// firstBytes reads from every disk as a client does.
func (r *run) firstBytes(ctx context.Context, in *export.Instance, out *Receipt) error {
	for _, d := range in.Disks {
		if _, err := blockdev.ReadFirst(ctx, in.Socket, d.Name); err != nil {
			return err
		}
	}
	out.RTOSeconds = time.Since(r.begin).Seconds()
	return nil
}

// look runs the script.
func (r *run) look(ctx context.Context, in *export.Instance, out *Receipt) error {
	res, err := r.script.Run(ctx, hook.Job{Args: []string{string(in.Group), in.Point.String()}, Env: r.environment(in), Time: r.c.o.Time})
	out.Exit, out.ScriptSeconds = res.Exit, res.Took.Seconds()
	o := res.Output
	out.OutputSHA256, out.OutputBytes = hex.EncodeToString(o.Digest[:]), o.Bytes
	out.OutputTail = strings.ToValidUTF8(string(o.Tail[max(0, len(o.Tail)-maxTail):]), "?")
	return err
}

// environment is documented in docs/CONFIG.md.
func (r *run) environment(in *export.Instance) []string {
	kv := []string{"REDOUBT_CHECK", r.id, "REDOUBT_GROUP", string(in.Group), "REDOUBT_POINT", in.Point.String(), "REDOUBT_POINT_TIME", in.Time.UTC().Format(time.RFC3339Nano),
		"REDOUBT_NODE", r.c.o.Name, "REDOUBT_SOCKET", in.Socket, "REDOUBT_SCRATCH", r.dir, "REDOUBT_TIME_LIMIT", strconv.Itoa(int(r.c.o.Time / time.Second)),
		"REDOUBT_DISKS", strconv.Itoa(len(in.Disks))}
	for i, d := range in.Disks {
		p := fmt.Sprintf("REDOUBT_DISK_%d_", i+1)
		kv = append(kv, p+"NAME", d.Name, p+"SIZE", strconv.FormatUint(d.Size, 10), p+"URI", "nbd+unix:///"+d.Name+"?socket="+in.Socket)
	}
	return hook.Environ(kv...)
}

// digest computes what the disks held at the point, whatever the script did to them.
func (r *run) digest(ctx context.Context, in *export.Instance, out *Receipt) error {
	var all []DiskDigest
	for _, d := range in.Disks {
		all = append(all, DiskDigest{Name: d.Name, Size: d.Size})
	}
	if !r.req.NoHash {
		v, err := r.c.o.Store.View(ctx, in.Group, in.Point)
		if err != nil {
			return err
		}
		defer func() { _ = v.Close() }()
		if out.RootSHA256, all, err = digest(ctx, v); err != nil {
			return err
		}
	}
	out.Disks = all[:min(len(all), maxListed)]
	return nil
}

// follow carries out a scheduled check at every multiple of its time.
func (c *Checker) follow(s Scheduled) {
	last := time.Time{}
	for {
		now := c.o.Now()
		last = nextSlot(now, last, s.Every)
		t := time.NewTimer(last.Sub(now))
		select {
		case <-t.C:
		case <-c.ctx.Done():
			t.Stop()
			return
		}
		_, err := c.Run(c.ctx, Request{Group: s.Group, At: s.At, Script: s.Script, NoHash: s.NoHash})
		if err != nil && c.ctx.Err() == nil {
			c.o.Logger.Error("a scheduled recovery check could not be carried out", "group", string(s.Group), "script", s.Script, "err", err, "hint", redoubt.Hint(err))
		}
	}
}

// nextSlot is the first multiple of every after now. It is not the slot that was
// last again, if the clock was set back a little since.
func nextSlot(now, last time.Time, every time.Duration) time.Time {
	next := now.Truncate(every).Add(every)
	if next.Equal(last) {
		next = next.Add(every)
	}
	return next
}
