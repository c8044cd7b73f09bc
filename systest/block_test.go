package systest

import (
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/demo/site"
)

// With on_full: block a full journal holds writes back for full_wait and then
// fails them; the operator is warned before. Nothing is given up, and when the
// secondary is back everything goes on.
func TestFullJournalBlocks(t *testing.T) {
	b := newBedOf(t, site.Options{JournalMax: "16MiB", Segment: "1MiB", OnFull: "block", FullWait: "2s"})
	b.safe()
	for _, n := range b.site.Targets {
		n.Kill()
	}
	c := b.clients()[1]
	page := make([]byte, 128<<10)
	warned := false
	var failed error
	var took time.Duration
	for i := 0; failed == nil && i < 400; i++ {
		page[0], page[1] = byte(i), byte(i>>8)
		begun := time.Now()
		failed = c.Write(page, uint64(i%190)*uint64(len(page)), false)
		took = time.Since(begun)
		if !warned && failed == nil {
			text, err := b.site.Run(b.ctx, "--socket", b.site.Source.AdminSocket(), "status")
			b.must(err)
			warned = strings.Contains(text, "critical: the journal is almost full: writes will be held back for 2s and then fail")
		}
	}
	if !errors.Is(failed, syscall.ENOSPC) || took < 2*time.Second {
		t.Fatalf("the write that found the journal full: %v after %s, want ENOSPC after 2s", failed, took)
	}
	if !warned {
		t.Error("status did not warn before the first write failed")
	}
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	if g.GetOverflow() != nil {
		t.Fatalf("records were given up: %v", g.GetOverflow())
	}
	for _, n := range b.site.Targets {
		b.must(n.Start())
	}
	b.committed(b.head().LSN)
	b.change(50)
	b.safe()
	if gaps := b.pointsOf(b.site.Targets[0]).Gaps; len(gaps) != 0 {
		t.Fatalf("gaps %v", gaps)
	}
	b.judgePoint(b.site.Targets[0], b.head())
}
