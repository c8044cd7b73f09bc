package service

import (
	"context"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/target/history"
)

// Bounds of an answer of ListPoints.
const (
	defaultPoints = 20
	maxPoints     = 10_000
)

// listPoints lists the newest points, or those around a time.
func (s *Service) listPoints(ctx context.Context, r *adminv1.ListPointsRequest) (*adminv1.ListPointsResponse, error) {
	limit := int(r.GetLimit())
	if limit == 0 {
		limit = defaultPoints
	}
	limit = min(limit, maxPoints)
	all, err := s.target.Store.History().Points(ctx, redoubt.GroupID(r.GetGroup()), maxPoints)
	if err != nil {
		return nil, err
	}
	hidden, err := s.target.Store.History().Gaps(redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListPointsResponse{Gaps: gaps(hidden)}
	if len(all) == 0 {
		return out, nil
	}
	tiers, err := s.target.Store.Retention().Tiers(ctx, redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	out.Tiers = retentionTiers(tiers)
	g, _ := s.target.Node.Catalog().Group(redoubt.GroupID(r.GetGroup()))
	out.Latest, out.Earliest = point(all[0], g.Disks), point(all[len(all)-1], g.Disks)
	if r.GetAround() != nil {
		all = around(all, admin.ToNanos(r.GetAround()), limit)
	}
	out.Truncated = len(all) > limit || len(all) == maxPoints
	for _, p := range all[:min(limit, len(all))] {
		out.Points = append(out.Points, point(p, g.Disks))
	}
	return out, nil
}

// around returns up to limit points of ps, which are newest first, that lie
// nearest to the time ns.
func around(ps []history.Point, ns int64, limit int) []history.Point {
	i, _ := slices.BinarySearchFunc(ps, ns, func(p history.Point, ns int64) int {
		switch {
		case p.Time > ns:
			return -1
		case p.Time < ns:
			return 1
		}
		return 0
	})
	from := max(0, min(i-limit/2, len(ps)-limit))
	return ps[from:min(len(ps), from+limit)]
}

// point tells of a point of a group that has the disks now.
func point(p history.Point, now []redoubt.Disk) *adminv1.Point {
	m := &adminv1.Point{Position: admin.FromPosition(p.Position), Time: stamp(time.Unix(0, p.Time)), FirstLsn: uint64(p.First),
		FirstTime: admin.FromNanos(p.Since), StoredBytes: uint64(p.Bytes), Degraded: p.Degraded, Tier: p.Tier, Bookmark: p.Bookmark, BookmarkApp: p.App, Checked: checked(p.Check)}
	for _, d := range p.Disks {
		k, named := findDisk(now, d.Name)
		m.Disks = append(m.Disks, &adminv1.PointDisk{Id: uint32(d.ID), Name: d.Name, Size: d.Size, Earlier: named && k.ID != d.ID})
	}
	return m
}
