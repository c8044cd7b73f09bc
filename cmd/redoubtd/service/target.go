package service

import (
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/export"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

func (s *Service) targetGroups(want redoubt.GroupID) []*adminv1.Group {
	var out []*adminv1.Group
	for _, g := range s.target.Node.Catalog().Groups() {
		if want == "" || g.ID == want {
			out = append(out, s.targetGroup(g))
		}
	}
	return out
}

func (s *Service) targetGroup(g catalog.Group) *adminv1.Group {
	out := &adminv1.Group{
		Id: string(g.ID), Uuid: g.UUID, Role: "target", State: g.State.String(), Epoch: uint64(g.Epoch), Lineage: admin.FromLineage(g.Lineage),
		Writer: g.Writer, Owner: string(g.Owner), Source: g.Source, SourceAddress: g.SourceAddr,
		Committed: admin.FromPosition(g.Committed), CommittedTime: admin.FromNanos(g.CommittedTime), BaselineLsn: uint64(g.Baseline),
		Redundancy: s.redundancy(g), Retention: s.retentionStatus(g.ID), HasLossReceipt: g.Receipt != nil,
	}
	if cs := s.target.Node.Catalog().Checks(g.ID); len(cs) > 0 {
		out.LastCheck = checkInfo(&cs[len(cs)-1], false)
	}
	out.Verify, out.ResyncReason = s.lastVerified(g), s.target.Node.Catalog().Binding(g.ID).Lost
	out.Standing = s.targetStanding(g.ID)
	at, behind := s.visible(g)
	out.Gap = behind
	for _, op := range g.AllowedOperations() {
		out.AllowedOperations = append(out.AllowedOperations, op.String())
	}
	if head, seen, contact := s.target.Store.Head(g.ID); head > 0 {
		if head < g.Committed.LSN { // it was told to the owner alone
			head, seen = g.Committed.LSN, time.Unix(0, g.CommittedTime)
		}
		out.Head, out.HeadTime = &adminv1.Position{Epoch: uint64(g.Epoch), Lsn: uint64(head)}, stamp(seen)
		out.Link = &adminv1.Link{Connected: time.Since(contact) < contactFresh, Peer: g.Writer, LastContact: stamp(contact)}
		out.LagSeconds = targetLag(head > g.Committed.LSN || behind != nil, seen, at, contact)
	}
	if g.PromotedAt != 0 {
		out.Promotion = promotion(g)
	}
	if j, ok := s.target.Node.Catalog().Job(g.ID, 0); ok && (j.Running() || j.State == catalog.JobCancelling) {
		out.Job = jobInfo(j)
	}
	for _, d := range g.Disks {
		out.Disks = append(out.Disks, &adminv1.Disk{Id: uint32(d.ID), Name: d.Name, Size: d.Size})
	}
	if p, ok := s.target.Exports.Production(g.ID); ok {
		out.Disks = exportDisks(p.Instance)
		out.Head, out.HeadTime = admin.FromPosition(p.Head), admin.FromNanos(p.HeadTime)
		out.Link = link(p.Sender)
		out.Figures = groupFigures(p.Instance.Stats())
		st, f := p.Instance.Journal()
		out.Journal = &adminv1.Journal{UsedBytes: uint64(st.UsedBytes), MaxBytes: uint64(st.MaxBytes), TailLsn: uint64(st.Tail), Figures: journalFigures(st, f)}
		out.Reverse = reverseStatus(p.Reverse, g)
	}
	return out
}

// contactFresh is how old the last heartbeat of a connected writer may be.
const contactFresh = 5 * time.Second

// targetLag is the RPO as the secondary knows it: how much older the newest
// safe write is than what the writer was last known to have, plus the silence
// since. Nothing is lost while both are equal and heartbeats come. In a gap the
// newest safe write is the last point before it.
func targetLag(behind bool, head time.Time, safe int64, contact time.Time) *float64 {
	v := 0.0
	if behind {
		v = max(0, head.Sub(time.Unix(0, safe)).Seconds())
	}
	if silent := time.Since(contact); silent > contactFresh {
		v += silent.Seconds()
	}
	return &v
}

func promotion(g catalog.Group) *adminv1.Promotion {
	return &adminv1.Promotion{
		Position: admin.FromPosition(g.Promoted), Epoch: uint64(g.Epoch), Promoted: admin.FromNanos(g.PromotedAt),
		Node: g.Writer, Committed: g.State != catalog.StateFailoverCommitPending,
		KnownHeadLsn: uint64(g.KnownHead), KnownHeadTime: admin.FromNanos(g.KnownHeadTime), UnknownSince: admin.FromNanos(g.LastContact),
	}
}

func (s *Service) redundancy(g catalog.Group) *adminv1.Redundancy {
	r, err := s.target.Store.Redundancy(g.ID)
	if err != nil {
		s.node.Logger.Warn("the redundancy of a group could not be counted", "group", string(g.ID), "err", err)
	}
	return &adminv1.Redundancy{Data: uint32(g.K), Parity: uint32(g.M), Segments: r.Segments, DegradedSegments: r.Degraded, BareSegments: r.Bare, StoredBytes: r.Bytes}
}

func (s *Service) targetExports(want redoubt.GroupID) []*adminv1.Export {
	var out []*adminv1.Export
	for _, in := range s.target.Exports.Instances() {
		if want == "" || in.Group == want {
			out = append(out, s.exportInfo(in))
		}
	}
	return out
}

func (s *Service) exportInfo(in *export.Instance) *adminv1.Export {
	x := &adminv1.Export{
		Id: in.ID, Group: string(in.Group), Kind: string(in.Kind), Position: admin.FromPosition(in.Point), Time: stamp(in.Time),
		Socket: in.Socket, Disks: exportDisks(in), Node: s.node.Name, Created: timestamppb.New(in.Created), OverlayBytes: in.Bytes(),
		Label: in.Label,
	}
	if h, ok := in.Hydration(); ok {
		x.Hydration = &adminv1.Hydration{DoneBytes: h.Done, TotalBytes: h.Total, Complete: h.Complete}
		if h.Err != nil {
			x.Hydration.Error, x.Hydration.Hint = h.Err.Error(), redoubt.Hint(h.Err)
		}
	}
	return x
}

func exportDisks(in *export.Instance) []*adminv1.Disk {
	var out []*adminv1.Disk
	st := in.Stats()
	for _, d := range in.Disks {
		out = append(out, &adminv1.Disk{Id: uint32(d.ID), Name: d.Name, Size: d.Size, Socket: in.Socket, Export: d.Name, Uri: nbdURI(d.Name, in.Socket),
			Clients: uint32(in.Clients(d.Name)), Figures: diskFigures(st, d.ID)})
	}
	return out
}

func link(s ship.SenderStatus) *adminv1.Link {
	l := &adminv1.Link{Connected: s.Connected, Peer: s.Peer, RawBytes: s.BytesRaw, WireBytes: s.BytesWire, Figures: shipFigures(s)}
	if s.LastError != nil {
		l.LastError = s.LastError.Error()
	}
	return l
}

func reverseStatus(r *export.ReverseStatus, g catalog.Group) *adminv1.Reverse {
	if r == nil {
		return nil
	}
	out := &adminv1.Reverse{
		Connected: r.Connected, Peer: "source/" + g.Source, BytesToCopy: r.Plan.Bytes, BytesCopied: r.Copied, WireBytes: r.BytesWire, RawBytes: r.BytesRaw,
		Figures: shipFigures(r.SenderStatus), InSync: r.InSync, Committed: admin.FromPosition(redoubt.Position{Epoch: g.Epoch, LSN: r.Acked}),
	}
	if r.Connected { // the age of what is not acknowledged is known while there is a stream
		out.LagSeconds = proto.Float64(r.LagTime.Seconds())
	}
	if r.LastError != nil {
		out.LastError = r.LastError.Error()
	}
	return out
}
