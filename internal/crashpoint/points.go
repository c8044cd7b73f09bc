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

// Step names the point of a job's step: "before" it, after its "effect" (which
// is not yet recorded), and "after" it was recorded.
func Step(job, step, when string) string { return "job." + job + "." + step + "." + when }

// Moments are the values of when.
func Moments() []string { return []string{"before", "effect", "after"} }
