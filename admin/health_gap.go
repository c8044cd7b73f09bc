package admin

import (
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// gap: what a full journal has led to, or soon will.
func (h *health) gap() {
	if o := h.g.GetOverflow(); o != nil {
		h.add(false, "overflow", "", "journal overflowed after LSN %d (%s), up to LSN %d: %d bytes to catch up; older points stay usable",
			o.AfterLsn, o.GetSince().AsTime().Format(time.RFC3339), o.UpToLsn, o.DirtyBytes)
	}
	if p := h.g.GetGap(); p != nil {
		h.add(false, "gap", "", "%s: no recovery point after %d:%d (%s) until the secondary has caught up; older points stay usable",
			p.Cause, p.Epoch, p.AfterLsn, p.GetSince().AsTime().Format(time.RFC3339))
	}
	// An eighth of room is left: what comes next is failed writes.
	if j := h.g.GetJournal(); h.g.GetRole() == "source" && !h.g.GetReadOnly() && holdsBack(j) && j.UsedBytes > j.MaxBytes/8*7 {
		h.add(true, "writes-fail", "restore the link, raise journal.max, or set journal.on_full: track",
			"the journal is almost full: writes will be held back for %s and then fail", time.Duration(j.FullWaitNs))
	}
}

func holdsBack(j *adminv1.Journal) bool { return j.GetHoldsBack() && j.GetMaxBytes() > 0 }
