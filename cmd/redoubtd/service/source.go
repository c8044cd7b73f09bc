package service

import (
	"net"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/source"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (s *Service) sourceGroups(want redoubt.GroupID) []*adminv1.Group {
	var out []*adminv1.Group
	for _, g := range s.source.Groups() {
		if st := g.Status(); want == "" || st.ID == want {
			out = append(out, s.sourceGroup(st))
		}
	}
	return out
}

func (s *Service) sourceGroup(st source.Status) *adminv1.Group {
	out := &adminv1.Group{
		Id: string(st.ID), Uuid: st.UUID, Role: "source", State: sourceState(st), Epoch: uint64(st.Role.Epoch),
		Lineage: admin.FromLineage(st.Role.Lineage), Source: s.node.Name, SourceAddress: s.node.Advertise,
		Head: admin.FromPosition(st.Head), HeadTime: stamp(st.HeadAt), DurableLsn: uint64(st.Durable), AppliedLsn: uint64(st.Applied),
		Committed:      admin.FromPosition(redoubt.Position{Epoch: st.Role.Epoch, LSN: st.Acked}),
		Journal:        &adminv1.Journal{UsedBytes: uint64(st.Journal.UsedBytes), MaxBytes: uint64(st.Journal.MaxBytes), TailLsn: uint64(st.Tail), Figures: journalFigures(st.Journal, st.Figures)},
		Copy:           &adminv1.CopyProgress{DoneBytes: st.CopyDone, TotalBytes: st.CopyTotal, Complete: st.CopyComplete, Comparing: st.Comparing, DifferingBytes: st.CopyDiffering},
		HasLossReceipt: st.HasReceipt, LagSeconds: lag(st.AckedAt), Link: &adminv1.Link{},
	}
	if st.Role.Mode != source.ModeWriter || st.LeaseOver {
		out.ReadOnly, out.ReadOnlyReason = true, readOnlyReason(st)
	}
	if st.Role.Mode != source.ModeWriter {
		out.LagSeconds = nil
	}
	if x := st.Stopped; x != nil {
		noteStopped(out, x)
	}
	if w := st.Welcome; w != nil {
		out.Writer, out.Owner, out.BaselineLsn = w.Writer, w.Owner, uint64(w.Baseline)
	}
	if st.Role.Mode != source.ModeWriter {
		out.Link.Connected, out.Link.LastContact = time.Since(st.ContactAt) < contactFresh, stamp(st.ContactAt)
		out.Link.Peer = "target/" + out.Owner
	}
	if out.BaselineLsn == 0 {
		out.BaselineLsn = uint64(st.Baseline)
	}
	keptRecords(out.Journal, st)
	out.Overflow = overflow(st)
	out.Journal.HoldsBack, out.Journal.FullWaitNs = !st.Track, uint64(st.FullWait)
	if sd := st.Sender; sd != nil {
		out.Link = link(*sd)
	}
	out.Standing, out.Journal.LastsSeconds = sourceStanding(st), lasts(st)
	if st.Hold.State == "Unprotected" {
		out.LagSeconds, out.Copy = nil, nil // nothing is on its way
	}
	if st.Err != nil {
		out.Error, out.Hint = st.Err.Error(), redoubt.Hint(st.Err)
	}
	out.ResyncReason = st.Lost
	if g := s.verifiedHere(st.ID); g != nil {
		out.Verify = briefly(verifyStatus(g))
	}
	out.Disks, out.Figures, out.Bookmarks = s.sourceDisks(st), groupFigures(st.Images), bookmarkFigures(st.Bookmarks)
	return out
}

// sourceState names the state as far as the source knows it.
func sourceState(st source.Status) string {
	switch {
	case st.Lost != "":
		return "ResyncRequired"
	case st.Role.Mode == source.ModeFenced:
		return "Fenced"
	case st.Role.Mode == source.ModeReplica && st.Whole:
		return "Replica"
	case st.Role.Mode == source.ModeReplica:
		return "Resyncing"
	case st.Stopped != nil:
		return "Quiesced"
	case st.Hold.State != "":
		return st.Hold.State
	case !st.CopyComplete && (st.Comparing || st.CopyAgain):
		return "Resyncing"
	case !st.CopyComplete:
		return "InitialSync"
	case st.GapOn:
		return "Resyncing"
	}
	return "Protected"
}

func readOnlyReason(st source.Status) string {
	if st.Stopped != nil {
		return stoppedReason(st.Stopped)
	}
	if st.LeaseOver {
		return "the lease is over: no contact with the secondary; writes go on when there is one"
	}
	if st.Role.Mode == source.ModeReplica {
		return "the disks follow the secondary's writes; fail back to make them writable"
	}
	return "fenced: epoch " + st.Role.FencedBy.Current().String() + " has taken over"
}

func (s *Service) sourceDisks(st source.Status) []*adminv1.Disk {
	var out []*adminv1.Disk
	for _, d := range st.Disks {
		a := &adminv1.Disk{Id: uint32(d.ID), Name: d.Name, Size: d.Size, Path: st.Paths[d.Name], Socket: st.Socket, Export: d.Name, Uri: nbdURI(d.Name, st.Socket), RemoteUri: remoteURI(d.Name, st.Remote, s.node.Advertise),
			Clients: uint32(st.Clients[d.Name]), Figures: diskFigures(st.Images, d.ID)}
		if st.Role.Mode != source.ModeWriter || st.Stopped != nil || st.LeaseOver {
			a.ReadOnly, a.ReadOnlyReason = true, readOnlyReason(st)
		}
		if i := slices.Index(st.Joining, d.ID); i >= 0 {
			a.Joining = &adminv1.JoinProgress{}
			if i == 0 {
				a.Joining.DoneBytes, a.Joining.TotalBytes = st.JoinDone, st.JoinTotal
			}
		}
		out = append(out, a)
	}
	return out
}

// remoteURI returns how clients elsewhere name an export, or "" if it is not
// served over TCP. advertise is the address under which others reach this node:
// its host stands for a listener on all addresses.
func remoteURI(export string, r source.Remote, advertise string) string {
	if r.Addr == nil {
		return ""
	}
	host, port, err := net.SplitHostPort(r.Addr.String())
	if err != nil {
		return ""
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		if host, _, err = net.SplitHostPort(advertise); err != nil {
			return ""
		}
	}
	scheme := "nbd"
	if r.TLS {
		scheme = "nbds"
	}
	return scheme + "://" + net.JoinHostPort(host, port) + "/" + export
}

func (s *Service) sourceExports(want redoubt.GroupID) []*adminv1.Export {
	var out []*adminv1.Export
	for _, g := range s.source.Groups() {
		st := g.Status()
		if want != "" && st.ID != want {
			continue
		}
		out = append(out, &adminv1.Export{Id: string(st.ID), Group: string(st.ID), Kind: "production", Socket: st.Socket,
			Disks: s.sourceDisks(st), Node: s.node.Name, Created: timestamppb.New(s.node.Started)})
	}
	return out
}

// defaultLostWrites is how many writes a receipt lists unless more are asked for.
const defaultLostWrites = 1000

// listedWrites is how many writes a receipt lists for a request that wants so
// many: an answer must not become longer than a message may be.
func listedWrites(want uint32) int {
	if want == 0 {
		return defaultLostWrites
	}
	return int(min(want, source.MaxLostWrites))
}

func sourceReceipt(g *source.Group, limit int) (*adminv1.GetLossReceiptResponse, error) {
	r, ok := g.Receipt()
	st := g.Status()
	if !ok {
		return nil, &redoubt.Error{Op: "loss receipt", Object: string(st.ID), Err: redoubt.ErrNotFound, Hint: "this source was not fenced: nothing was lost"}
	}
	out := &adminv1.LossReceipt{
		Group: string(st.ID), Complete: true, Fork: admin.FromPosition(r.Fork), OldHead: admin.FromPosition(r.Head),
		Records: r.Records, Bytes: r.Bytes, Branch: st.Role.Branch, Truncated: r.Truncated || len(r.Writes) > limit,
		KeptElsewhere: r.KeptElsewhere, GivenUp: r.GivenUp,
	}
	if r.Records > 0 {
		out.FirstTime, out.LastTime, out.OldHeadTime = stamp(r.First), stamp(r.Last), stamp(r.Last)
	}
	for _, w := range r.Writes[:min(limit, len(r.Writes))] {
		out.Writes = append(out.Writes, &adminv1.LostWrite{Lsn: uint64(w.LSN), Time: stamp(time.Unix(0, w.Time)), Disk: uint32(w.Disk), Kind: w.Kind.String(), Extent: admin.FromExtent(w.Extent)})
	}
	out.Disks = diskExtents(slices.Concat(st.Disks, st.Gone), r.Extents)
	return &adminv1.GetLossReceiptResponse{Receipt: out}, nil
}

// maxListedExtents bounds the extents of one disk in an answer.
const maxListedExtents = 10_000

func diskExtents(disks []redoubt.Disk, extents map[redoubt.DiskID][]redoubt.Extent) []*adminv1.DiskExtents {
	var out []*adminv1.DiskExtents
	for _, d := range disks {
		es := extents[d.ID]
		if len(es) == 0 {
			continue
		}
		a := &adminv1.DiskExtents{Disk: uint32(d.ID), Name: d.Name, Truncated: len(es) > maxListedExtents}
		for _, e := range es {
			a.Bytes += e.Len
		}
		a.Extents = admin.FromExtents(es[:min(len(es), maxListedExtents)])
		out = append(out, a)
	}
	return out
}
