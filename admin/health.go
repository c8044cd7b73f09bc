package admin

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// The levels of a group's health.
const (
	HealthNormal   = "Normal"
	HealthWarning  = "Warning"
	HealthCritical = "Critical"
)

// From where on a figure is a reason to worry.
const (
	lagWarning      = time.Minute
	lagCritical     = 15 * time.Minute
	journalWarning  = 0.75 // part of the journal in use
	journalCritical = 0.95
	lastsWarning    = time.Hour // that the journal has room while nothing of it goes
	lastsCritical   = 10 * time.Minute
)

// Beside is what a group's health depends on beside its status.
type Beside struct {
	WriterDown string // the master target that has production and does not answer; empty if there is none
	Replaced   bool   // this host writes, and an image is another file than before
}

// Health says how well a group is, and why not better. It depends on what is
// known of the group and on nothing else.
func Health(g *adminv1.Group, b Beside) *adminv1.Health {
	h := &health{g: g}
	h.writer(b.WriterDown)
	if b.Replaced {
		h.add(true, "replaced", "if it is no copy of the old one, stop redoubtd here and fail over; otherwise redoubt verify "+g.GetId()+", which ends this if nothing differs",
			"an image is another file than before: nobody knows what it holds, and it is served")
	}
	h.broken()
	h.state()
	h.stream()
	h.journal()
	h.gap()
	h.history()
	slices.SortStableFunc(h.reasons, func(a, b *adminv1.HealthReason) int { return cmp.Compare(a.Level, b.Level) }) // Critical comes first
	out := &adminv1.Health{Level: HealthNormal, Reasons: h.reasons}
	if len(h.reasons) > 0 {
		out.Level = h.reasons[0].Level
	}
	return out
}

type health struct {
	g       *adminv1.Group
	reasons []*adminv1.HealthReason
}

func (h *health) add(critical bool, code, hint, format string, v ...any) {
	level := HealthWarning
	if critical {
		level = HealthCritical
	}
	h.reasons = append(h.reasons, &adminv1.HealthReason{Level: level, Code: code, Text: fmt.Sprintf(format, v...), Hint: hint})
}

// writer: production is at a master target that is not there.
func (h *health) writer(down string) {
	if down == "" {
		return
	}
	hint := "start redoubtd there: what was written is in its journal"
	if h.g.GetState() == "FailoverCommitPending" {
		hint += ". Or open it elsewhere, without what was written since the failover: redoubt failover change " + h.g.GetId() + " at another node"
	}
	h.add(true, "writer-down", hint, "production is at node %s, which does not answer: its disks are not served", down)
}

// broken: what failed and stays failed until somebody acts.
func (h *health) broken() {
	if h.g.GetError() != "" {
		h.add(true, "failed", h.g.GetHint(), "%s", h.g.GetError())
	}
	if v := h.g.GetVerify().GetLast(); v.GetDifferingBlocks() > 0 && !h.compares() {
		hint := "redoubt verify " + h.g.Id + " lists what differs, redoubt resync " + h.g.Id + " ships it if the source is right"
		if s := h.g.GetState(); s == "ReverseReplicating" || s == "Replica" {
			hint = "do not fail back: stop redoubtd at the old primary, remove the group's folder there and start it; what differs is shipped then"
		}
		h.add(true, "differs", hint, "%d blocks of 4 KiB differed between the sites at %d:%d", v.DifferingBlocks, v.Epoch, v.Lsn)
	}
	if r := h.g.GetRetention(); r.GetStopped() != "" {
		h.add(false, "retention", "redoubt retention show "+h.g.Id, "history is not thinned: %s", r.GetStopped())
	}
}

// compares reports whether a difference is being mended, or looked for again.
func (h *health) compares() bool {
	return h.g.GetState() == "Resyncing" || h.g.GetVerify().GetRunning()
}

// state: what the group is, is a reason by itself.
func (h *health) state() {
	id := h.g.GetId()
	switch h.g.GetState() {
	case "Unprotected":
		h.add(false, "unprotected", "redoubt group protect "+id, "nothing is replicated")
	case "InitialSync":
		h.add(false, "copying", "", "the first copy is under way: there is no recovery point yet")
	case "Resyncing":
		h.add(false, "copying", "", "a copy is under way: new points exist when it is whole")
	case "ResyncRequired":
		h.add(true, "resync-required", "redoubt resync "+id+", at the secondary", "the journal was lost: no new point is made")
	case "Paused":
		h.add(false, "paused", "redoubt group resume "+id, "replication is paused")
	case "FailingOver":
		h.add(false, "job", "", "a failover is under way")
	case "FailoverCommitPending":
		h.add(false, "commit-pending", "redoubt failover commit "+id+", or cancel", "the failover is not committed: production is not protected, and nothing is thinned")
	case "FailedOver":
		h.add(false, "failed-over", "redoubt reverse "+id, "production is at the secondary and not replicated to the primary")
	case "Fenced":
		h.add(false, "fenced", "redoubt reverse "+id+", at the secondary", "another writer has taken over: %s", h.g.GetReadOnlyReason())
	}
}

// ships reports whether writes should be on their way to the other site.
func (h *health) ships() bool {
	switch h.g.GetState() {
	case "InitialSync", "Protected", "Resyncing", "ReverseReplicating", "FailedOver", "FailoverCommitPending":
		return true
	}
	return false
}

func (h *health) stream() {
	g := h.g
	if l := g.GetLink(); l != nil && !l.GetConnected() && h.ships() {
		h.add(false, "silent", "check that the other site runs and can be reached", "no contact with the other site")
	}
	if r := g.GetReverse(); r != nil && !r.GetConnected() {
		h.add(false, "reverse-silent", "check that the old primary runs and can be reached", "no contact with %s", r.GetPeer())
	}
	if g.LagSeconds != nil && h.ships() {
		if lag := time.Duration(g.GetLagSeconds() * float64(time.Second)); lag >= lagWarning {
			h.add(lag >= lagCritical, "lag", "", "the oldest write that is not safe is %s old", lag.Round(time.Second))
		}
	}
}

func (h *health) journal() {
	j := h.g.GetJournal()
	if j.GetMaxBytes() == 0 {
		return
	}
	part := float64(j.GetUsedBytes()) / float64(j.GetMaxBytes())
	if part >= journalWarning {
		h.add(part >= journalCritical, "journal-full", "what is written is kept until the other site has it: restore the link, resume, or give the journal more room",
			"the journal is %.0f %% full", part*100)
	}
	held := h.g.GetState() == "Paused" || !h.g.GetLink().GetConnected() && h.ships()
	if lasts := time.Duration(j.GetLastsSeconds() * float64(time.Second)); held && j.LastsSeconds != nil && lasts < lastsWarning {
		h.add(lasts < lastsCritical, "journal-lasts", "", "the journal has room for about %s of writes", lasts.Round(time.Second))
	}
	if j.GetGaveUpLsn() > 0 && j.GetGaveUpLsn() > j.GetWholeLsn() {
		h.add(false, "kept", "", "the journal had to let go of writes that the secondary does not have with all of its redundancy")
	}
}

func (h *health) history() {
	r := h.g.GetRedundancy()
	switch {
	case r.GetBareSegments() > 0:
		h.add(true, "redundancy", "redoubt node list shows which nodes are away", "%d of %d segments would not outlive the loss of another shard", r.GetBareSegments(), r.GetSegments())
	case r.GetDegradedSegments() > 0:
		h.add(false, "redundancy", "redoubt node list shows which nodes are away", "%d of %d segments have fewer shards than they should", r.GetDegradedSegments(), r.GetSegments())
	}
}
