package metrics

import (
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func known[N uint32 | uint64 | float64](v N) (float64, bool) { return float64(v), true }

func truth(b bool) (float64, bool) {
	if b {
		return 1, true
	}
	return 0, true
}

func groupShelf() shelf[*adminv1.Group] {
	type group = *adminv1.Group
	s := shelf[group]{prefix: "redoubt_group_", labels: []string{"group", "role", "state"}}
	s.gauge("lag_seconds", "Age of the oldest write that is not safe at the secondary (RPO).",
		func(g group) (float64, bool) { return g.GetLagSeconds(), g.LagSeconds != nil })
	s.gauge("head_lsn", "Newest write known at the writer.", func(g group) (float64, bool) { return known(g.GetHead().GetLsn()) })
	s.gauge("committed_lsn", "Newest write that is safe at the secondary.", func(g group) (float64, bool) { return known(g.GetCommitted().GetLsn()) })
	s.gauge("epoch", "Number of the current writer.", func(g group) (float64, bool) { return known(g.GetEpoch()) })
	s.gauge("health", "0 if all is well, 1 for a warning, 2 if it is critical.", func(g group) (float64, bool) {
		return map[string]float64{admin.HealthWarning: 1, admin.HealthCritical: 2}[g.GetHealth().GetLevel()], g.Health != nil
	})
	s.gauge("read_only", "1 if the disks take no writes here.", func(g group) (float64, bool) { return truth(g.GetReadOnly()) })
	s.gauge("journal_used_bytes", "Journal in use.", func(g group) (float64, bool) { return float64(g.GetJournal().GetUsedBytes()), g.Journal != nil })
	s.gauge("journal_max_bytes", "Bound of the journal.", func(g group) (float64, bool) { return float64(g.GetJournal().GetMaxBytes()), g.Journal != nil })
	s.gauge("degraded_segments", "Segments with fewer shards than the policy asks for.",
		func(g group) (float64, bool) {
			return float64(g.GetRedundancy().GetDegradedSegments()), g.Redundancy != nil
		})
	type retention = *adminv1.RetentionStatus
	kept := func(fn func(r retention) float64) func(g group) (float64, bool) {
		return func(g group) (float64, bool) {
			if g.Retention == nil {
				return 0, false
			}
			return fn(g.Retention), true
		}
	}
	s.gauge("retention_stopped", "1 if history is not thinned although it should be.", kept(func(r retention) float64 {
		if r.Stopped != "" {
			return 1
		}
		return 0
	}))
	s.gauge("retention_segments_left", "Segments that the retention plan under way still looks at.", kept(func(r retention) float64 { return float64(r.SegmentsLeft) }))
	s.gauge("retention_pins", "Points that pins and holds keep.", kept(func(r retention) float64 { return float64(r.Pins) }))
	s.gauge("retention_dropped_segments", "Segments of which retention has left nothing.", kept(func(r retention) float64 { return float64(r.DroppedSegments) }))
	s.gauge("retention_freed_bytes", "Bytes of shards that retention has given back, on all nodes.", kept(func(r retention) float64 { return float64(r.FreedBytes) }))
	s.gauge("bare_segments", "Segments that would not outlive the loss of another shard.",
		func(g group) (float64, bool) {
			return float64(g.GetRedundancy().GetBareSegments()), g.Redundancy != nil
		})
	s.gauge("journal_kept_bytes", "Journal kept for what the secondary has without all of its shards.",
		func(g group) (float64, bool) { return float64(g.GetJournal().GetKeptBytes()), g.Journal != nil })
	verified := func(fn func(v *adminv1.Verification) float64) func(g group) (float64, bool) {
		return func(g group) (float64, bool) {
			if g.GetVerify().GetLast() == nil {
				return 0, false
			}
			return fn(g.Verify.Last), true
		}
	}
	s.gauge("verify_running", "1 while source and secondary are compared.", func(g group) (float64, bool) { return truth(g.GetVerify().GetRunning()) })
	s.gauge("verify_finished_timestamp_seconds", "When source and secondary were compared last.", verified(func(v *adminv1.Verification) float64 { return float64(v.GetFinished().GetSeconds()) }))
	s.gauge("verify_differing_blocks", "Blocks of 4 KiB that differed then.", verified(func(v *adminv1.Verification) float64 { return float64(v.DifferingBlocks) }))
	s.gauge("verify_unsettled_blocks", "Blocks of 4 KiB that were written to each time that they were looked at.", verified(func(v *adminv1.Verification) float64 { return float64(v.UnsettledBlocks) }))
	s.gauge("overflow_bytes", "Bytes that the source's journal gave up and that are not yet announced to the secondary; absent without an overflow.",
		func(g group) (float64, bool) { return float64(g.GetOverflow().GetDirtyBytes()), g.Overflow != nil })
	s.gauge("in_gap", "1 while there is no recovery point for what is newest: the journal overflowed and is being caught up.",
		func(g group) (float64, bool) { return truth(g.Gap != nil || g.Overflow != nil) })
	s.gauge("segments", "Segments stored.", func(g group) (float64, bool) { return float64(g.GetRedundancy().GetSegments()), g.Redundancy != nil })
	return s
}

// imageShelf has how far the images are behind the journal.
func imageShelf() shelf[*adminv1.GroupFigures] {
	type figures = *adminv1.GroupFigures
	s := shelf[figures]{prefix: "redoubt_apply_", labels: []string{"group", "role"}}
	s.gauge("unapplied_writes", "Writes not yet in the images.", func(f figures) (float64, bool) { return known(f.UnappliedWrites) })
	s.gauge("unapplied_bytes", "Memory that these writes hold.", func(f figures) (float64, bool) { return known(f.UnappliedBytes) })
	s.gauge("unapplied_seconds", "Age of the oldest write not yet in the images.", func(f figures) (float64, bool) { return known(f.UnappliedSeconds) })
	s.gauge("unsynced_writes", "Writes not yet durable in the images.", func(f figures) (float64, bool) { return known(f.UnsyncedWrites) })
	s.gauge("unsynced_bytes", "Bytes of these writes.", func(f figures) (float64, bool) { return known(f.UnsyncedBytes) })
	s.gauge("unsynced_seconds", "Age of the oldest write not yet durable in the images.", func(f figures) (float64, bool) { return known(f.UnsyncedSeconds) })
	s.gauge("memory_bytes", "Memory used by writes not yet in the images.", func(f figures) (float64, bool) { return known(f.MemoryBytes) })
	s.gauge("memory_limit_bytes", "Bound of that memory.", func(f figures) (float64, bool) { return known(f.MemoryLimitBytes) })
	s.gauge("waiting_writers", "Writers held back for memory or journal space.", func(f figures) (float64, bool) { return known(f.WaitingWriters) })
	s.counter("rounds_total", "Rounds that wrote to the images.", func(f figures) uint64 { return f.ApplyRounds })
	return s
}

func journalShelf() shelf[*adminv1.Journal] {
	type journal = *adminv1.Journal
	s := shelf[journal]{prefix: "redoubt_journal_", labels: []string{"group", "role"}}
	s.gauge("fill_ratio", "Part of the journal in use, 0 to 1.", func(j journal) (float64, bool) {
		return float64(j.UsedBytes) / float64(max(1, j.MaxBytes)), j.MaxBytes > 0
	})
	s.gauge("segments", "Segments that hold records.", func(j journal) (float64, bool) { return known(j.Figures.Segments) })
	s.gauge("files", "Segment files, with prepared and free ones.", func(j journal) (float64, bool) { return known(j.Figures.Files) })
	s.counter("appends_total", "Appends.", func(j journal) uint64 { return j.Figures.Appends })
	s.counter("records_total", "Records appended.", func(j journal) uint64 { return j.Figures.Records })
	s.counter("sync_calls_total", "Calls that wanted records durable.", func(j journal) uint64 { return j.Figures.SyncCalls })
	s.times("fdatasync_seconds", "Duration of an fdatasync of a segment.", func(j journal) *adminv1.Histogram { return j.Figures.FdatasyncNs })
	s.sizes("commit_records", "Records made durable by one group commit.", func(j journal) *adminv1.Histogram { return j.Figures.CommitRecords })
	s.sizes("commit_callers", "Callers that waited for one group commit.", func(j journal) *adminv1.Histogram { return j.Figures.CommitCallers })
	return s
}
