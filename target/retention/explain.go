package retention

import (
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Explain says why a point with that time, older than Dense and not in Keep, goes.
func Explain(p catalog.Policy, at, now int64) string {
	age := time.Duration(now - at)
	for _, t := range p.Tiers {
		if age <= t.For {
			return fmt.Sprintf("a later point of the same %s stays", catalog.FormatSpan(t.Step))
		}
	}
	return "older than " + catalog.FormatSpan(p.Longest())
}

// TierOf returns the index of the tier that reaches back to the time, -1 if
// every write of it is kept, and len(p.Tiers) if it is older than all tiers.
func TierOf(p catalog.Policy, at, now int64) int {
	age := time.Duration(now - at)
	if age <= p.Every {
		return -1
	}
	for i, t := range p.Tiers {
		if age <= t.For {
			return i
		}
	}
	return len(p.Tiers)
}
