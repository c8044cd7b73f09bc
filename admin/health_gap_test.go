package admin

import (
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func TestHealthOfAFullJournal(t *testing.T) {
	of := func(g *adminv1.Group, code string) (level string) {
		for _, r := range Health(g, Beside{}).Reasons {
			if r.Code == code {
				if !strings.Contains(r.Text, "journal") {
					t.Errorf("%s says %q", code, r.Text)
				}
				return r.Level
			}
		}
		return HealthNormal
	}
	g := func(used uint64, block bool) *adminv1.Group {
		return &adminv1.Group{Role: "source", State: "Protected", Journal: &adminv1.Journal{UsedBytes: used, MaxBytes: 800, HoldsBack: block, FullWaitNs: 2e9}}
	}
	for _, c := range []struct {
		used  uint64
		block bool
		want  string
	}{{700, true, HealthNormal}, {701, true, HealthCritical}, {800, false, HealthNormal}} {
		if got := of(g(c.used, c.block), "writes-fail"); got != c.want {
			t.Errorf("%d of 800, block %v: %s, want %s", c.used, c.block, got, c.want)
		}
	}
	over := g(100, false)
	over.Overflow = &adminv1.Overflow{AfterLsn: 5, UpToLsn: 9, DirtyBytes: 4096}
	if of(over, "overflow") != HealthWarning {
		t.Error("an overflow is no reason to worry")
	}
	hidden := &adminv1.Group{Role: "target", State: "Resyncing", Gap: &adminv1.Gap{Epoch: 1, AfterLsn: 5, Cause: "journal overflow"}}
	if of(hidden, "gap") != HealthWarning {
		t.Error("a gap is no reason to worry")
	}
}
