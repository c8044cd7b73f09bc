package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/bench/stats"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// result is one row of the table. Times are in milliseconds from the call.
type result struct {
	Segments  uint64  `json:"segments"`
	Disk      uint64  `json:"disk_bytes"`
	Generated float64 `json:"generated_seconds"`
	FirstRead float64 `json:"first_open_read_ms"` // of the first point that is opened after the start
	ReadP50   float64 `json:"read_p50_ms"`
	ReadMax   float64 `json:"read_max_ms"`
	WriteP50  float64 `json:"write_p50_ms"`
	WriteMax  float64 `json:"write_max_ms"`
	// From the start of a killed daemon to the first byte read of it: of a
	// follower, and of the leader, which the others miss at first.
	Restart       float64 `json:"restart_ms"`
	RestartLeader float64 `json:"restart_leader_ms"`

	RSS       int64 `json:"rss_bytes"`   // of the first of these two daemons then
	IndexDisk int64 `json:"index_bytes"` // on disk
}

const patience = 2 * time.Minute

// measure runs the daemons on the generated folders.
func measure(ctx context.Context, s *site.Site, h *history, opens int) (r result, err error) {
	defer s.Close()
	for _, n := range s.Targets {
		if err := n.Start(); err != nil {
			return r, err
		}
	}
	n := s.Targets[0]
	c, err := admin.Dial("unix:"+n.AdminSocket(), nil)
	if err != nil {
		return r, err
	}
	defer c.Close()
	if err := awaitLeader(ctx, c, len(s.Targets)); err != nil {
		return r, fmt.Errorf("%w; log of %s:\n%s", err, n.Name, n.LogTail(10))
	}
	o := opener{c: c, h: h, rng: rand.New(rand.NewPCG(h.segments, h.size))}
	if r.FirstRead, err = o.untilOpen(ctx, n); err != nil {
		return r, fmt.Errorf("%w; log of %s:\n%s", err, n.Name, n.LogTail(10))
	}
	var reads, writes []float64
	for i := range opens {
		ms, err := o.open(ctx, i%2 == 1)
		if err != nil {
			return r, err
		}
		if i%2 == 1 {
			writes = append(writes, ms)
		} else {
			reads = append(reads, ms)
		}
	}
	r.ReadP50, r.ReadMax = stats.Median(reads), slices.Max(reads)
	r.WriteP50, r.WriteMax = stats.Median(writes), slices.Max(writes)
	for _, leader := range []bool{false, true} {
		n, ms, err := o.restart(ctx, s, leader)
		if err != nil {
			return r, err
		}
		if leader {
			r.RestartLeader = ms
			continue
		}
		r.Restart = ms
		if r.RSS, err = rss(n.Pid()); err != nil {
			return r, err
		}
	}
	return r, nil
}

// restart kills the leader, or another node, starts it again, and opens a point on it.
func (o *opener) restart(ctx context.Context, s *site.Site, leader bool) (*site.Node, float64, error) {
	lead, err := o.leader(ctx)
	if err != nil {
		return nil, 0, err
	}
	i := slices.IndexFunc(s.Targets, func(n *site.Node) bool { return (n.Name == lead) == leader })
	if i < 0 {
		return nil, 0, fmt.Errorf("no node to restart, %q leads", lead)
	}
	n := s.Targets[i]
	c, err := admin.Dial("unix:"+n.AdminSocket(), nil)
	if err != nil {
		return nil, 0, err
	}
	defer c.Close()
	n.Kill()
	start := time.Now()
	if err := n.Start(); err != nil {
		return nil, 0, err
	}
	there := opener{c: c, h: o.h, rng: o.rng}
	if _, err := there.untilOpen(ctx, n); err != nil {
		return nil, 0, fmt.Errorf("%w; log of %s:\n%s", err, n.Name, n.LogTail(10))
	}
	return n, since(start), awaitLeader(ctx, o.c, len(s.Targets))
}

// leader returns the name of the node that leads the cluster.
func (o *opener) leader(ctx context.Context) (string, error) {
	st, err := o.c.GetStatus(ctx, &adminv1.GetStatusRequest{})
	for _, m := range st.GetCluster() {
		if m.Leader {
			return m.Id, err
		}
	}
	return "", errors.Join(err, errors.New("nobody leads"))
}

// awaitLeader waits until the daemons, which all started at once, are a cluster.
func awaitLeader(ctx context.Context, c *admin.Client, nodes int) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		st, err := c.GetStatus(ctx, &adminv1.GetStatusRequest{})
		alive, leader := 0, false
		for _, n := range st.GetCluster() {
			leader = leader || n.Leader
			if n.Alive {
				alive++
			}
		}
		if err == nil && leader && alive == nodes {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("no cluster: leader %v, %d of %d alive: %w", leader, alive, nodes, errors.Join(ctx.Err(), err))
		}
		time.Sleep(20 * time.Millisecond) // the operator's view can only be polled
	}
}

// opener opens points and does the first request on them.
type opener struct {
	c   *admin.Client
	h   *history
	rng *rand.Rand
}

// untilOpen tries until the node has found its peers, and returns the time of
// the open that succeeded.
func (o *opener) untilOpen(ctx context.Context, n *site.Node) (float64, error) {
	deadline := time.Now().Add(patience)
	for {
		ms, err := o.open(ctx, false)
		if err == nil || time.Now().After(deadline) || ctx.Err() != nil || !n.Alive() {
			return ms, err
		}
		time.Sleep(20 * time.Millisecond) // a daemon that starts can only be polled
	}
}

// open opens a random point, reads or writes 4 KiB, and cleans up.
func (o *opener) open(ctx context.Context, write bool) (ms float64, err error) {
	at := redoubt.LSN(1+o.rng.Uint64N(uint64(lastLSN(o.h.segments-1))-perDelta)) + perDelta
	ordinal := uint64(at-1) / perDelta / bigEvery * bigEvery
	if write { // any page of the disk will do
		ordinal = o.rng.Uint64N(uint64(at-1)/perDelta + 1)
	}
	ws := o.h.writes(ordinal)
	off := ws[0].Extent.Off
	buf := make([]byte, page)
	start := time.Now()
	t, err := o.c.TestFailover(ctx, &adminv1.TestFailoverRequest{Group: string(group),
		Point: &adminv1.PointSpec{At: &adminv1.PointSpec_Position{Position: &adminv1.Position{Epoch: 1, Lsn: uint64(at)}}}})
	if err != nil {
		return 0, err
	}
	defer func() {
		_, cerr := o.c.CleanupTest(ctx, &adminv1.CleanupTestRequest{Group: string(group), Id: t.Export.Id})
		err = errors.Join(err, cerr)
	}()
	nbd, err := oracle.Dial(ctx, t.Export.Socket, diskName)
	if err != nil {
		return 0, err
	}
	defer nbd.Close()
	if write {
		err = nbd.Write(buf, off, false)
		return since(start), err
	}
	if _, err := nbd.ReadAt(buf, int64(off)); err != nil {
		return 0, err
	}
	ms = since(start)
	// The newest write of the page is this one or a later one up to the point.
	if gotOff, gotLSN := stamp(buf); gotOff != off || gotLSN < ws[0].LSN && ws[0].LSN <= at || gotLSN > at {
		return 0, fmt.Errorf("at %d the page at %d says that it is the page at %d of write %d; write %d put it there", at, off, gotOff, gotLSN, ws[0].LSN)
	}
	return ms, nil
}

func since(t time.Time) float64 { return float64(time.Since(t).Microseconds()) / 1000 }

// rss returns the resident memory of a process in bytes.
func rss(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, fmt.Errorf("statm says %q", b)
	}
	pages, err := strconv.ParseInt(f[1], 10, 64)
	return pages * int64(os.Getpagesize()), err
}
