package crashpoint

// Points are those with a name of their own. Besides, the beginning of each job
// has two, and each step that a node does has three, made by Step.
func Points() []string {
	return []string{
		"source.stop.frozen",    // the hook has run; writers still write
		"source.stop.held",      // the writers are stopped; nothing says so on disk
		"source.stop.durable",   // it is on disk; the secondary does not know
		"source.stop.told",      // the secondary knows
		"source.resume.durable", // the disk says that it goes on; the writers are still stopped
		"source.resume.open",    // the writers write; the hook has not run
		"source.fence.durable",  // fenced on disk, after a promotion
		"source.reverse.role",   // the role follows the new epoch, the journal not yet
		"source.writer.role",    // the role is the writer's again, the journal's epoch not yet
		"target.export.spec",    // what to export is on disk, and not open
	}
}

// DiskPoints are those of disks that are added and removed.
func DiskPoints() []string {
	return []string{
		"source.join.begun",       // an added disk's copy begins
		"source.join.copied",      // everything of it is at the secondary
		"source.join.told",        // the journal says that it has joined
		"source.remove.closed",    // a removed disk is closed; nothing says so on disk
		"source.remove.durable",   // it is on disk; the journal does not say it
		"source.remove.journaled", // the journal says it
	}
}

// CommitPoints are those on the way of a delta at the secondary, until the source
// knows that it is safe.
func CommitPoints() []string {
	return []string{
		"target.shard.put",                 // at a peer of the owner: a shard is durable, the owner does not know
		"target.delta.stored",              // at the owner: the shards are durable, nothing is proposed
		"cluster.commit.received",          // at the leader: the proposal has come, and is in no log
		"cluster.commit.appended.leader",   // at the leader: it is durable in this log alone
		"cluster.commit.appended.follower", // at a follower: it is durable in its log, the leader does not know
		"cluster.commit.applied.leader",    // at the leader: it is in the catalog, who proposed it has no answer
		"cluster.commit.applied.follower",  // at a follower: it is in the catalog there
		"target.delta.committed",           // at the owner: the cluster has agreed, the stream does not know
		"ship.delta.acked",                 // at the owner: the source knows, but not what is whole
	}
}

// Step names the point of a job's step: "before" it, after its "effect" (which
// is not yet recorded), and "after" it was recorded.
func Step(job, step, when string) string { return "job." + job + "." + step + "." + when }

// Moments are the values of when.
func Moments() []string { return []string{"before", "effect", "after"} }
