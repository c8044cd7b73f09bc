package crashtest

// Tally counts what was tried and checked.
type Tally struct {
	Rounds       int64 `json:"rounds"`            // worlds, or disks that were killed again and again
	Cuts         int64 `json:"power_cuts"`        // simulated
	Kills        int64 `json:"kills"`             // simulated
	RealKills    int64 `json:"real_kills"`        // processes killed with SIGKILL
	Recoveries   int64 `json:"recoveries_broken"` // crashes and failures in the middle of a recovery
	Faults       int64 `json:"faults"`            // lives with EIO, ENOSPC or a short write
	Latched      int64 `json:"latched"`           // of these: seen by the client, and nothing succeeded afterwards
	Lies         int64 `json:"lies"`              // syncs of the journal's disk that did nothing
	Damaged      int64 `json:"damaged"`           // durable bytes changed
	Noticed      int64 `json:"noticed"`           // lies and damage that the open reported
	Acknowledged int64 `json:"acknowledged"`      // acknowledged writes checked
	Flushed      int64 `json:"flushed"`           // flushed or FUA writes checked
	Dropped      int64 `json:"dropped"`           // writes that power cuts took, as they may: never flushed
	Full         int64 `json:"journal_full"`      // writes refused because the journal was full
	Lost         int64 `json:"lost"`              // writes that were promised and are gone or wrong
}

// Crashes returns how often a disk was left without an orderly end.
func (t *Tally) Crashes() int64 { return t.Cuts + t.Kills + t.RealKills }

// add adds what another tally counted.
func (t *Tally) add(o Tally) {
	t.Rounds += o.Rounds
	t.Cuts += o.Cuts
	t.Kills += o.Kills
	t.RealKills += o.RealKills
	t.Recoveries += o.Recoveries
	t.Faults += o.Faults
	t.Latched += o.Latched
	t.Lies += o.Lies
	t.Damaged += o.Damaged
	t.Noticed += o.Noticed
	t.Acknowledged += o.Acknowledged
	t.Flushed += o.Flushed
	t.Dropped += o.Dropped
	t.Full += o.Full
	t.Lost += o.Lost
}
