package metrics

import adminv1 "github.com/redoubt-dr/redoubt/admin/v1"

// healingShelf has how a master target keeps its shards whole.
func healingShelf() shelf[*adminv1.Healing] {
	type healing = *adminv1.Healing
	s := shelf[healing]{prefix: "redoubt_"}
	s.gauge("repair_missing_segments", "Segments of which this node's shard is to be rebuilt.", func(h healing) (float64, bool) { return known(h.Repair.MissingSegments) })
	s.gauge("repair_missing_bytes", "Bytes of these shards.", func(h healing) (float64, bool) { return known(h.Repair.MissingBytes) })
	s.gauge("repair_bare_segments", "Of these: no further shard may be lost.", func(h healing) (float64, bool) { return known(h.Repair.BareSegments) })
	s.gauge("repair_failed_segments", "Of these: too few shards could be read.", func(h healing) (float64, bool) { return known(h.Repair.FailedSegments) })
	s.gauge("repair_bytes_per_second", "Rebuilt lately.", func(h healing) (float64, bool) { return known(h.Repair.BytesPerSecond) })
	s.gauge("repair_allowed_bytes_per_second", "What ingest leaves.", func(h healing) (float64, bool) { return known(h.Repair.AllowedBytesPerSecond) })
	s.gauge("repair_eta_seconds", "Until nothing is missing, at that rate.", func(h healing) (float64, bool) { return h.Repair.GetEtaSeconds(), h.Repair.EtaSeconds != nil })
	s.gauge("ingest_lag_seconds", "Age of the oldest delta that waits for its commit.", func(h healing) (float64, bool) { return known(h.Repair.IngestLagSeconds) })
	s.counter("repaired_shards_total", "Shards rebuilt.", func(h healing) uint64 { return h.Repair.RepairedShards })
	s.counter("repaired_bytes_total", "Bytes of these.", func(h healing) uint64 { return h.Repair.RepairedBytes })
	s.gauge("scrub_running", "1 while a pass is under way.", func(h healing) (float64, bool) { return truth(h.Scrub.Running) })
	s.gauge("scrub_done_bytes", "Read in this pass.", func(h healing) (float64, bool) { return known(h.Scrub.DoneBytes) })
	s.gauge("scrub_stored_bytes", "To be read in a pass.", func(h healing) (float64, bool) { return known(h.Scrub.TotalBytes) })
	s.gauge("scrub_finished_timestamp_seconds", "When the last whole pass was over.", func(h healing) (float64, bool) {
		return float64(h.Scrub.GetFinished().GetSeconds()), h.Scrub.Finished != nil
	})
	found := func(name, help string, get func(*adminv1.ScrubFindings) uint64) {
		s.gauge("scrub_found_"+name, help, func(h healing) (float64, bool) { return known(get(h.Scrub.GetFound())) })
	}
	found("rotten_shards", "In this pass: shards that did not match.", (*adminv1.ScrubFindings).GetRotten)
	found("missing_shards", "In this pass: shards named by the catalog and not stored.", (*adminv1.ScrubFindings).GetMissing)
	found("orphan_shards", "In this pass: shards named by nobody at present.", (*adminv1.ScrubFindings).GetOrphans)
	found("deleted_shards", "In this pass: shards deleted because nobody will name them.", (*adminv1.ScrubFindings).GetDeleted)
	found("damaged_files", "In this pass: log files whose structure was written anew.", (*adminv1.ScrubFindings).GetFiles)
	found("damaged_runs", "In this pass: runs of the index to be built again.", (*adminv1.ScrubFindings).GetRuns)
	return s
}
