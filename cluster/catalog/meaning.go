package catalog

// Meaning says in one sentence what a group in the state is.
func (s State) Meaning() string {
	switch s {
	case StateUnprotected:
		return "known, and not replicated; the points of before may be kept"
	case StateInitialSync:
		return "the first copy is under way; there is no point yet"
	case StateProtected:
		return "points are being made"
	case StatePaused:
		return "by an operator: the source keeps its writes in its journal, or the way back rests"
	case StateResyncRequired:
		return "the source's journal was lost: nothing of it is taken before a comparison; older points can be used"
	case StateResyncing:
		return "what differs, or all of it, is being copied; older points can be used"
	case StateFailingOver:
		return "a failover or failback is under way as a job"
	case StateFailoverCommitPending:
		return "writable at the secondary; another point may still be chosen"
	case StateFailedOver:
		return "committed: production is at the secondary, with points of its own, and not replicated to the primary"
	case StateReverseReplicating:
		return "production is at the secondary and replicated to the old primary's disks"
	}
	return ""
}

// Meaning says in one sentence what the operation does.
func (o Operation) Meaning() string {
	switch o {
	case OpProtect:
		return "replicates an unprotected group again: a new epoch, with a whole copy"
	case OpUnprotect:
		return "ends replication; disks and points stay"
	case OpPause:
		return "stops replication until Resume"
	case OpResume:
		return "goes on where Pause stopped it"
	case OpBookmark:
		return "names the present position"
	case OpTestFailover:
		return "opens a point beside production; any number at once"
	case OpPlannedFailover:
		return "moves production to the other site without loss; from ReverseReplicating that is the failback"
	case OpUnplannedFailover:
		return "opens a point as the new production, because the writer is lost"
	case OpChangeRecoveryPoint:
		return "opens another point instead, before the commit"
	case OpCommit:
		return "makes the chosen point final"
	case OpCancel:
		return "gives production back to where it was"
	case OpReverseReplicate:
		return "ships to the old primary what differs, and follows"
	case OpResynchronise:
		return "compares the source's disks with what is stored, by hashes, and ships what differs; older points stay"
	case OpDeletePoints:
		return "deletes all recovery points of an unprotected group"
	}
	return ""
}

// Command is how an operator asks for the operation; "" if there is no command
// of its own.
func (o Operation) Command() string {
	switch o {
	case OpProtect:
		return "redoubt group protect"
	case OpUnprotect:
		return "redoubt group unprotect"
	case OpPause:
		return "redoubt group pause"
	case OpResume:
		return "redoubt group resume"
	case OpBookmark:
		return "redoubt bookmark"
	case OpTestFailover:
		return "redoubt failover test"
	case OpPlannedFailover:
		return "redoubt failover planned, redoubt failback"
	case OpUnplannedFailover:
		return "redoubt failover unplanned"
	case OpChangeRecoveryPoint:
		return "redoubt failover change"
	case OpCommit:
		return "redoubt failover commit"
	case OpCancel:
		return "redoubt failover cancel"
	case OpReverseReplicate:
		return "redoubt reverse"
	case OpResynchronise:
		return "redoubt resync"
	case OpDeletePoints:
		return "redoubt group unprotect --delete-points"
	}
	return ""
}
