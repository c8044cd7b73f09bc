package journal

import "github.com/redoubt-dr/redoubt/internal/histogram"

// figures are what syncs count.
type figures struct {
	fdatasync, records, callers histogram.Histogram
}

// Figures are histograms since Open.
type Figures struct {
	// Fdatasync has the duration of each fdatasync of a segment, in nanoseconds.
	// A commit that crosses into a new segment needs one for each.
	Fdatasync histogram.Snapshot
	// CommitRecords has the number of LSNs that each commit made durable, and
	// CommitCallers how many calls of Sync it served: clients' flushes, the
	// applier's rounds, and the sender's. A call that found its records durable
	// already is in none; one that gave up is counted if what it had asked for
	// became durable later.
	CommitRecords, CommitCallers histogram.Snapshot
}

// Figures returns a snapshot.
func (j *Journal) Figures() Figures {
	f := &j.figures
	return Figures{Fdatasync: f.fdatasync.Snapshot(), CommitRecords: f.records.Snapshot(), CommitCallers: f.callers.Snapshot()}
}
