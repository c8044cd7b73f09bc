package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/bench/stats"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// startTargets starts the secondary site and waits for its leader.
func startTargets(ctx context.Context, s *site.Site) error {
	for _, n := range s.Targets {
		if err := n.Start(); err != nil {
			return err
		}
	}
	_, err := s.Wait(ctx, s.Targets[0], patience, "a cluster with a leader", func(st *adminv1.GetStatusResponse, _ *adminv1.Group) error {
		alive, leader := 0, false
		for _, n := range st.GetCluster() {
			if n.Alive {
				alive++
			}
			leader = leader || n.Leader
		}
		if !leader || alive < len(s.Targets) {
			return fmt.Errorf("leader %v, %d of %d alive", leader, alive, len(s.Targets))
		}
		return nil
	})
	return err
}

// drain waits until the disk is copied and all writes are safe at the
// secondary.
func drain(ctx context.Context, s *site.Site) error {
	_, err := s.Wait(ctx, s.Source, patience, "the copy and the last writes at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g == nil || !g.GetCopy().GetComplete() {
			return fmt.Errorf("copied %d of %d bytes", g.GetCopy().GetDoneBytes(), g.GetCopy().GetTotalBytes())
		}
		if g.Committed.GetLsn() < g.Head.GetLsn() {
			return fmt.Errorf("committed %d of %d", g.Committed.GetLsn(), g.Head.GetLsn())
		}
		return nil
	})
	return err
}

// lag asks `redoubt status --json` for the age of the oldest write that is not
// safe at the secondary.
func lag(ctx context.Context, s *site.Site) (float64, error) {
	_, g, err := s.Status(ctx, s.Source)
	if err != nil {
		return 0, err
	}
	if g.LagSeconds == nil {
		return 0, errors.New("the source does not know its lag")
	}
	return g.GetLagSeconds(), nil
}

// rpo is what was seen of the lag while a job ran at half of its maximal rate.
type rpo struct {
	Job       string    `json:"job"`
	LimitIOPS float64   `json:"limit_iops"` // asked for
	IOPS      float64   `json:"iops"`       // reached
	Lags      []float64 `json:"lag_seconds"`
}

// rpoGoal is what the oldest unsafe write may be old, in seconds.
const rpoGoal = 2.0

func (r rpo) max() float64 { return slices.Max(r.Lags) }
func (r rpo) p99() float64 { return stats.Quantile(r.Lags, 0.99) }

// measureRPO runs a job at half of the rate that it reached, and polls the lag
// from its start until it ends.
func measureRPO(ctx context.Context, o options, l load, t *target, reached measurement) (*rpo, error) {
	if err := t.drain(ctx); err != nil {
		return nil, err
	}
	l.limit, l.secs = reached.IOPS/2, o.rpoSeconds
	r := &rpo{Job: l.job.name, LimitIOPS: l.limit}
	done := make(chan error, 1)
	go func() {
		m, err := measure(ctx, o, l, t)
		r.IOPS = m.IOPS
		done <- err
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		v, err := t.lag(ctx)
		if err != nil {
			return nil, errors.Join(err, <-done)
		}
		r.Lags = append(r.Lags, v)
		select {
		case err := <-done:
			return r, err
		case <-tick.C:
		}
	}
}
