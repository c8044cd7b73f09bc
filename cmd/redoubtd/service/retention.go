package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/thin"
)

// GetRetention says what is kept of a group.
func (s *Service) GetRetention(ctx context.Context, r *adminv1.GetRetentionRequest) (*adminv1.GetRetentionResponse, error) {
	if s.target == nil {
		return s.Elsewhere.GetRetention(ctx, r)
	}
	id := redoubt.GroupID(r.GetGroup())
	tiers, err := s.target.Store.Retention().Tiers(ctx, id)
	if err != nil {
		return nil, err
	}
	k, stuck, err := s.target.Store.Retention().State(id)
	if err != nil {
		return nil, err
	}
	out := &adminv1.GetRetentionResponse{Policy: k.Policy.String(), Chosen: k.Set, Clock: admin.FromNanos(k.Clock), Tiers: retentionTiers(tiers), Plans: k.Plans,
		DroppedSegments: k.DroppedSegments, FreedBytes: k.FreedBytes}
	for i := range k.Pins {
		out.Pins = append(out.Pins, pin(&k.Pins[i]))
	}
	if k.Plan != nil {
		out.Phase, out.SegmentsLeft = k.Plan.Phase.String(), k.Plan.Left()
	}
	if stuck != nil {
		out.Stopped, out.Hint = stuck.Error(), redoubt.Hint(stuck)
	}
	return out, nil
}

func (s *Service) retentionStatus(id redoubt.GroupID) *adminv1.RetentionStatus {
	k, stuck, err := s.target.Store.Retention().State(id)
	if err != nil {
		return nil // the group is new
	}
	out := &adminv1.RetentionStatus{Plans: k.Plans, DroppedSegments: k.DroppedSegments, FreedBytes: k.FreedBytes, Pins: uint32(len(k.Pins))}
	if k.Plan != nil {
		out.SegmentsLeft = k.Plan.Left()
	}
	if stuck != nil {
		out.Stopped = stuck.Error()
	}
	return out
}

// PlanRetention says what a policy would do.
func (s *Service) PlanRetention(ctx context.Context, r *adminv1.PlanRetentionRequest) (*adminv1.PlanRetentionResponse, error) {
	if s.target == nil {
		return s.Elsewhere.PlanRetention(ctx, r)
	}
	var policy *catalog.Policy
	if r.GetPolicy() != "" {
		p, err := catalog.ParsePolicy(r.GetPolicy())
		if err != nil {
			return nil, err
		}
		policy = &p
	}
	p, err := s.target.Store.Retention().Preview(ctx, redoubt.GroupID(r.GetGroup()), policy)
	if err != nil {
		return nil, err
	}
	out := &adminv1.PlanRetentionResponse{Policy: p.Policy.String(), Now: admin.FromNanos(p.Now), FreesAtMostBytes: p.Frees, Tiers: retentionTiers(p.Tiers),
		FreeBytes: p.Forecast.Free, GrowthBytesPerDay: p.Forecast.Rate, NeedsBytes: p.Forecast.Needs}
	for _, k := range p.Keep {
		out.Keep = append(out.Keep, &adminv1.RetentionReason{Reason: k.Reason, Points: k.Points})
	}
	for _, d := range p.Drop {
		out.Drop = append(out.Drop, &adminv1.RetentionReason{Reason: d.Reason, Points: d.Points, Oldest: admin.FromNanos(d.Oldest), Newest: admin.FromNanos(d.Newest)})
	}
	if p.Forecast.Short {
		out.ShortAt, out.ShortReachSeconds = admin.FromNanos(p.Forecast.End), p.Forecast.Reach.Seconds()
	}
	return out, nil
}

// SetRetention changes a policy.
func (s *Service) SetRetention(ctx context.Context, r *adminv1.SetRetentionRequest) (*adminv1.SetRetentionResponse, error) {
	if s.target == nil {
		return s.Elsewhere.SetRetention(ctx, r)
	}
	p, err := catalog.ParsePolicy(r.GetPolicy())
	if err != nil {
		return nil, err
	}
	_, err = s.target.Node.Propose(ctx, catalog.SetPolicy{Group: redoubt.GroupID(r.GetGroup()), Policy: p})
	return &adminv1.SetRetentionResponse{Policy: p.String()}, err
}

// PinPoint keeps a point.
func (s *Service) PinPoint(ctx context.Context, r *adminv1.PinPointRequest) (*adminv1.PinPointResponse, error) {
	if s.target == nil {
		return s.Elsewhere.PinPoint(ctx, r)
	}
	p, err := s.setPin(ctx, catalog.PinOperator, r.GetGroup(), r.GetName(), r.GetPoint(), r.GetUntil())
	return &adminv1.PinPointResponse{Pin: p}, err
}

// HoldPoint keeps a point up to a date.
func (s *Service) HoldPoint(ctx context.Context, r *adminv1.HoldPointRequest) (*adminv1.HoldPointResponse, error) {
	if s.target == nil {
		return s.Elsewhere.HoldPoint(ctx, r)
	}
	if r.GetUntil() == nil {
		return nil, &redoubt.Error{Op: "hold point of group", Object: r.GetGroup(), Err: redoubt.ErrInvalid, Hint: "a hold needs an end: --until TIME"}
	}
	p, err := s.setPin(ctx, catalog.PinHold, r.GetGroup(), r.GetName(), r.GetPoint(), r.GetUntil())
	return &adminv1.HoldPointResponse{Pin: p}, err
}

// setPin finds the point, that of the pin of the same name if none is named,
// and pins it.
func (s *Service) setPin(ctx context.Context, kind catalog.PinKind, group, name string, at *adminv1.PointSpec, until *timestamppb.Timestamp) (*adminv1.Pin, error) {
	id := redoubt.GroupID(group)
	p := catalog.Pin{Name: name, Kind: kind, Until: admin.ToNanos(until)}
	if peer, ok := admin.PeerFrom(ctx); ok {
		p.By = peer.String()
	}
	if err := s.target.Node.Barrier(ctx); err != nil {
		return nil, err
	}
	for _, old := range s.target.Node.Catalog().Retention(id).Pins {
		if old.Name == name && at.GetAt() == nil {
			p.Position, p.Time = old.Position, old.Time
		}
	}
	if p.Position.IsZero() {
		spec, err := pointSpec(at)
		if err != nil {
			return nil, err
		}
		point, when, err := s.target.Store.History().Resolve(ctx, id, spec)
		if err != nil {
			return nil, err
		}
		p.Position, p.Time = point, when.UnixNano()
	}
	if _, err := s.target.Node.Propose(ctx, catalog.SetPin{Group: id, Pin: p}); err != nil {
		return nil, err
	}
	return pin(&p), nil
}

// UnpinPoint ends a pin.
func (s *Service) UnpinPoint(ctx context.Context, r *adminv1.UnpinPointRequest) (*adminv1.UnpinPointResponse, error) {
	if s.target == nil {
		return s.Elsewhere.UnpinPoint(ctx, r)
	}
	_, err := s.target.Node.Propose(ctx, catalog.RemovePin{Group: redoubt.GroupID(r.GetGroup()), Name: r.GetName()})
	return &adminv1.UnpinPointResponse{}, err
}

// ConfirmClock lets retention's clock jump to the newest write's time.
func (s *Service) ConfirmClock(ctx context.Context, r *adminv1.ConfirmClockRequest) (*adminv1.ConfirmClockResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ConfirmClock(ctx, r)
	}
	to, err := s.target.Store.Retention().ConfirmClock(ctx, redoubt.GroupID(r.GetGroup()))
	return &adminv1.ConfirmClockResponse{Clock: stamp(to)}, err
}

func pin(p *catalog.Pin) *adminv1.Pin {
	return &adminv1.Pin{Name: p.Name, Kind: p.Kind.String(), Position: admin.FromPosition(p.Position), Time: stamp(time.Unix(0, p.Time)), Until: admin.FromNanos(p.Until), By: p.By}
}

func retentionTiers(ts []thin.Tier) (out []*adminv1.RetentionTier) {
	for _, t := range ts {
		out = append(out, &adminv1.RetentionTier{Name: t.Name, Points: t.Points, StoredBytes: t.Bytes, Oldest: admin.FromNanos(t.Oldest), Newest: admin.FromNanos(t.Newest)})
	}
	return out
}
