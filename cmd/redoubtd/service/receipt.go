package service

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
)

// targetReceipt is the bound that the secondary can give until the old source
// has returned, and then the exact list: what was behind the promoted point in
// the history here, and what only the source had.
func (s *Service) targetReceipt(ctx context.Context, id redoubt.GroupID, limit int) (*adminv1.GetLossReceiptResponse, error) {
	g, ok := s.target.Node.Catalog().Group(id)
	if !ok {
		return nil, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	if g.PromotedAt == 0 {
		return nil, &redoubt.Error{Op: "loss receipt", Object: string(id), Err: redoubt.ErrNotFound, Hint: "the group was never failed over"}
	}
	out := &adminv1.LossReceipt{
		Group: string(id), Fork: admin.FromPosition(g.Promoted),
		OldHead:     &adminv1.Position{Epoch: uint64(g.Promoted.Epoch), Lsn: uint64(g.KnownHead)},
		OldHeadTime: admin.FromNanos(g.KnownHeadTime), UnknownSince: admin.FromNanos(g.LastContact),
		Records: uint64(max(g.KnownHead, g.Promoted.LSN) - g.Promoted.LSN),
	}
	if r := g.Receipt; r != nil {
		out.Complete, out.UnknownSince = true, nil
		out.Records, out.Bytes = r.Writes, r.Bytes
		out.OldHead = &adminv1.Position{Epoch: uint64(r.Epoch), Lsn: uint64(max(r.Last, g.Promoted.LSN))}
		out.FirstTime, out.LastTime, out.OldHeadTime = admin.FromNanos(r.FirstTime), admin.FromNanos(r.LastTime), admin.FromNanos(r.LastTime)
	}
	if err := s.listLost(ctx, g, out, limit); err != nil {
		s.node.Logger.Warn("the lost writes cannot be listed", "group", string(id), "err", err, "hint", redoubt.Hint(err))
		out.Truncated = true
	}
	return &adminv1.GetLossReceiptResponse{Receipt: out}, nil
}

// listLost adds the list of writes to a receipt.
func (s *Service) listLost(ctx context.Context, g catalog.Group, out *adminv1.LossReceipt, limit int) error {
	c := s.target.Node.Catalog()
	l := lossList{out: out, limit: limit, disks: c.DisksEver(g.ID), leaves: map[redoubt.LSN]redoubt.DiskID{}}
	for _, v := range c.DiskEvents(g.ID) {
		if v.Epoch == g.Promoted.Epoch && v.Disk.Size == 0 {
			l.leaves[v.LSN] = v.Disk.ID
		}
	}
	there, err := s.receiptAtSource(ctx, g, limit)
	if err != nil {
		return err
	}
	until, _ := s.target.Node.Catalog().Head(g.ID, g.Promoted.Epoch)
	if there != nil { // the source lists the rest, which may overlap with what is here
		until = min(until, g.Promoted.LSN+redoubt.LSN(there.KeptElsewhere))
	}
	err = s.target.Store.History().Writes(ctx, g.ID, redoubt.Stretch{Epoch: g.Promoted.Epoch, From: g.Promoted.LSN, To: until}, l.add)
	if err != nil {
		return err
	}
	l.finish(there)
	return nil
}

// receiptAtSource returns what the source says, or nil if the receipt is a bound.
func (s *Service) receiptAtSource(ctx context.Context, g catalog.Group, limit int) (*adminv1.LossReceipt, error) {
	if g.Receipt == nil {
		return nil, nil
	}
	c, err := s.atSource(ctx, g.ID)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, sourcePatience)
	defer cancel()
	r, err := c.GetLossReceipt(ctx, &adminv1.GetLossReceiptRequest{Group: string(g.ID), MaxWrites: uint32(limit)})
	return r.GetReceipt(), err
}

// lossList gathers lost writes for a receipt.
type lossList struct {
	out     *adminv1.LossReceipt
	limit   int
	disks   []redoubt.Disk                 // all that there ever were
	leaves  map[redoubt.LSN]redoubt.DiskID // writes by which disks left: no client made them
	records uint64                         // in the history here
	bytes   uint64
	extents extentsByDisk
	first   *ship.Entry
	last    *ship.Entry
}

// add takes a write of the history.
func (l *lossList) add(e *ship.Entry) bool {
	if e.Kind != redoubt.KindWrite && !e.Kind.Zeroes() || l.leaves[e.LSN] == e.Disk && e.Kind.Zeroes() {
		return true
	}
	if l.first == nil {
		l.first = e
	}
	l.last = e
	l.records, l.bytes = l.records+1, l.bytes+e.Extent.Len
	l.extents.add(e.Disk, e.Extent)
	if len(l.out.Writes) < l.limit {
		l.out.Writes = append(l.out.Writes, &adminv1.LostWrite{Lsn: uint64(e.LSN), Time: admin.FromNanos(e.Time), Disk: uint32(e.Disk), Kind: e.Kind.String(), Extent: admin.FromExtent(e.Extent)})
	}
	return true
}

// finish adds what the source lists, nil if it is not back, and the sums.
func (l *lossList) finish(there *adminv1.LossReceipt) {
	out := l.out
	out.Records, out.Bytes = max(l.records, out.Records), l.bytes
	if there != nil {
		out.Records, out.Bytes = l.records+there.Records, l.bytes+there.Bytes
		out.Branch, out.OldHead = there.Branch, there.OldHead
		for _, w := range there.Writes {
			if len(out.Writes) < l.limit {
				out.Writes = append(out.Writes, w)
			}
		}
		for _, d := range there.Disks {
			if !slices.ContainsFunc(l.disks, func(k redoubt.Disk) bool { return k.ID == redoubt.DiskID(d.Disk) }) {
				l.disks = append(l.disks, redoubt.Disk{ID: redoubt.DiskID(d.Disk), Name: d.Name}) // it never joined
			}
			for _, e := range d.Extents {
				l.extents.add(redoubt.DiskID(d.Disk), redoubt.Extent{Off: e.Off, Len: e.Len})
			}
			out.Truncated = out.Truncated || d.Truncated
		}
	}
	if l.first != nil {
		out.FirstTime = admin.FromNanos(l.first.Time)
		if there == nil || there.Records == 0 {
			out.LastTime = admin.FromNanos(l.last.Time)
		}
	}
	out.Disks = diskExtents(l.disks, l.extents.merged())
	out.Truncated = out.Truncated || uint64(len(out.Writes)) < out.Records && there != nil
}
