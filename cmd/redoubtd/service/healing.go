package service

import (
	"context"

	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target"
	"github.com/redoubt-dr/redoubt/target/repair"
	"github.com/redoubt-dr/redoubt/target/scrub"
)

// Scrub tells how far a node's scrub and repair are, and may begin a pass.
func (s *Service) Scrub(ctx context.Context, r *adminv1.ScrubRequest) (*adminv1.ScrubResponse, error) {
	if s.target == nil {
		return s.Elsewhere.Scrub(ctx, r)
	}
	if c, err := s.elsewhere(ctx, redoubt.NodeID(r.GetNode())); err != nil {
		return nil, err
	} else if c != nil {
		defer c.Close()
		return c.Scrub(ctx, r)
	}
	if r.GetNow() {
		if err := s.target.Store.ScrubNow(); err != nil {
			return nil, err
		}
	}
	h := healing(s.target.Store)
	return &adminv1.ScrubResponse{Node: s.node.Name, Scrub: h.Scrub, Repair: h.Repair}, nil
}

// healing describes how the store keeps its shards whole.
func healing(st *target.Store) *adminv1.Healing {
	return &adminv1.Healing{Repair: repairStatus(st.Stats().Repair), Scrub: scrubStatus(st.Scrub())}
}

func repairStatus(r repair.Stats) *adminv1.Repair {
	out := &adminv1.Repair{
		MissingSegments: uint64(r.Missing), MissingBytes: uint64(r.MissingBytes), BareSegments: uint64(r.Bare), FailedSegments: uint64(r.Failed),
		BytesPerSecond: r.Rate, AllowedBytesPerSecond: uint64(r.Allowed), Pace: r.Pace, RepairedShards: r.Repaired, RepairedBytes: r.RepairedBytes,
		IngestLagSeconds: r.Lag.Seconds(),
	}
	if r.ETA > 0 || r.Missing == 0 {
		out.EtaSeconds = proto.Float64(r.ETA.Seconds())
	}
	if r.LastErr != nil {
		out.LastError = r.LastErr.Error()
	}
	return out
}

func scrubStatus(c scrub.Stats) *adminv1.Scrub {
	out := &adminv1.Scrub{
		Running: c.Running, Pass: c.Pass, Started: stamp(c.Started), Finished: stamp(c.Finished), Next: stamp(c.Next),
		DoneBytes: uint64(c.Done), TotalBytes: uint64(c.Total), Rate: uint64(c.Rate), IntervalSeconds: c.Every.Seconds(),
		Found: scrubFindings(c.Found), LastFound: scrubFindings(c.Last),
	}
	if c.Rate > 0 {
		out.PassSeconds = proto.Float64(c.Duration.Seconds())
	}
	return out
}

func scrubFindings(f scrub.Findings) *adminv1.ScrubFindings {
	return &adminv1.ScrubFindings{Shards: f.Shards, Bytes: f.Bytes, Rotten: f.Rotten, Missing: f.Missing, Orphans: f.Orphans, Deleted: f.Deleted,
		Files: f.Files, Runs: f.Runs}
}

// keptRecords adds what the source keeps beyond the ack, and up to where.
func keptRecords(j *adminv1.Journal, st source.Status) {
	if st.Sender != nil {
		j.WholeLsn, j.KeptBytes, j.GaveUpLsn = uint64(st.Sender.Whole), uint64(st.Sender.Kept), uint64(st.Sender.GaveUp)
	}
}
