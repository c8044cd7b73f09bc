package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/check"
)

// RunCheck checks a point on this node or another one.
func (s *Service) RunCheck(ctx context.Context, r *adminv1.RunCheckRequest) (*adminv1.RunCheckResponse, error) {
	if s.target == nil {
		return s.Elsewhere.RunCheck(ctx, r)
	}
	if c, err := s.elsewhere(ctx, redoubt.NodeID(r.GetNode())); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.RunCheck(ctx, r)
	}
	given, err := admin.ParsePoint(r.GetPoint())
	if err != nil {
		return nil, err
	}
	at, err := pointSpec(given)
	if err != nil {
		return nil, err
	}
	done, err := s.target.Checker.Run(ctx, check.Request{Group: redoubt.GroupID(r.GetGroup()), At: at, Script: r.GetScript(), NoHash: r.GetNoHash()})
	if err != nil {
		return nil, err
	}
	t := done.Receipt
	return &adminv1.RunCheckResponse{Problem: t.Problem, OutputTail: t.OutputTail, RootSha256: t.RootSHA256, ScriptTook: seconds(t.ScriptSeconds),
		Check: &adminv1.Check{Id: t.ID, Epoch: uint64(t.Point.Epoch), Lsn: uint64(t.Point.LSN), Time: stamp(t.Finished), Script: t.Script, Node: t.Node,
			Passed: t.Passed, Rto: seconds(t.RTOSeconds), Receipt: done.Signed}}, nil
}

func seconds(s float64) *durationpb.Duration { return durationpb.New(time.Duration(s * 1e9)) }

// ListChecks lists the checks of a group.
func (s *Service) ListChecks(ctx context.Context, r *adminv1.ListChecksRequest) (*adminv1.ListChecksResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ListChecks(ctx, r)
	}
	cs, err := s.target.Checker.Checks(ctx, redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListChecksResponse{}
	for i := range cs {
		out.Checks = append(out.Checks, checkInfo(&cs[i], true))
	}
	return out, nil
}

func checkInfo(c *catalog.Check, receipt bool) *adminv1.Check {
	out := &adminv1.Check{Id: c.ID, Epoch: uint64(c.Position.Epoch), Lsn: uint64(c.Position.LSN), Time: stamp(time.Unix(0, c.Time)), Script: c.Script,
		Node: string(c.Node), Passed: c.Passed, Rto: durationpb.New(time.Duration(c.RTO))}
	if receipt {
		out.Receipt = c.Receipt
	}
	return out
}

// checked says how the newest check of a stretch ended.
func checked(c *catalog.Check) string {
	switch {
	case c == nil:
		return ""
	case c.Passed:
		return "passed " + c.Script
	}
	return "FAILED " + c.Script
}
