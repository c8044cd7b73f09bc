package service

import (
	"time"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/source"
)

// overflow is what the journal at the source has given up, nil if nothing.
func overflow(st source.Status) *adminv1.Overflow {
	if !st.GapOn {
		return nil
	}
	return &adminv1.Overflow{AfterLsn: uint64(st.Gap.From), UpToLsn: uint64(st.Gap.UpTo), DirtyBytes: st.Gap.Dirty,
		Since: stamp(time.Unix(0, st.Gap.Since)), Until: stamp(time.Unix(0, st.Gap.Until))}
}

func gap(g catalog.Gap) *adminv1.Gap {
	return &adminv1.Gap{Epoch: uint64(g.Epoch), AfterLsn: uint64(g.After), WholeLsn: uint64(g.Whole),
		Since: admin.FromNanos(g.Since), Until: admin.FromNanos(g.Until), Cause: g.Cause.String()}
}

func gaps(list []catalog.Gap) (out []*adminv1.Gap) {
	for _, g := range list {
		out = append(out, gap(g))
	}
	return out
}

// visible returns the newest point of the group and its time, and the gap that
// lies behind it, if there is one.
func (s *Service) visible(g catalog.Group) (at int64, behind *adminv1.Gap) {
	list := s.target.Node.Catalog().Gaps(g.ID)
	if in, ok := catalog.GapAt(list, g.Written(g.Committed)); ok {
		return in.Since, gap(in)
	}
	return g.CommittedTime, nil
}
