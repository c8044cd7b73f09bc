package retention

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Input is what a decision depends on.
type Input struct {
	Policy catalog.Policy
	Path   Path
	// Branch: the path is what a failover left behind. Its last point has no
	// claim to stay.
	Branch bool
	// Pinned are points of the path that stay anyway, with the reason.
	Pinned []Pinned
	Now    int64 // Unix nanoseconds
}

// Pinned is a point that stays whatever its age.
type Pinned struct {
	Point
	Reason string // such as "hold audit-2026"
}

// Kept is a point that stays, and why.
type Kept struct {
	Point
	Reasons []string
}

// Decision is what becomes of a path. Every write whose time is Dense or later
// stays, and of the older ones those in Keep, oldest first. All others go.
type Decision struct {
	Dense int64
	Keep  []Kept
}

// Decide applies the policy. Of each bucket of each tier the last point stays
// if it is younger than the tier's reach; so do the newest point, and the point
// that says what the disks were when the oldest tier begins.
func Decide(in Input) (Decision, error) {
	if err := in.Policy.Validate(); err != nil {
		return Decision{}, err
	}
	d := decision{Decision: Decision{Dense: in.Now - int64(in.Policy.Every)}, why: map[redoubt.Position]*Kept{}}
	for _, t := range in.Policy.Tiers {
		if err := d.tier(in.Path, t, in.Now); err != nil {
			return Decision{}, err
		}
	}
	if !in.Branch {
		if err := d.last(in.Path, math.MaxInt64, "newest"); err != nil {
			return Decision{}, err
		}
		if err := d.oldest(in); err != nil {
			return Decision{}, err
		}
	}
	for _, p := range in.Pinned {
		d.add(p.Point, p.Reason)
	}
	for _, k := range d.why {
		d.Keep = append(d.Keep, *k)
	}
	slices.SortFunc(d.Keep, func(a, b Kept) int {
		return cmp.Or(cmp.Compare(a.Position.LSN, b.Position.LSN), cmp.Compare(a.Position.Epoch, b.Position.Epoch))
	})
	return d.Decision, nil
}

type decision struct {
	Decision
	why map[redoubt.Position]*Kept
}

func (d *decision) add(p Point, reason string) {
	if p.Time >= d.Dense {
		return
	}
	k := d.why[p.Position]
	if k == nil {
		k = &Kept{Point: p}
		d.why[p.Position] = k
	}
	if !slices.Contains(k.Reasons, reason) {
		k.Reasons = append(k.Reasons, reason)
	}
}

// last keeps the last point before t.
func (d *decision) last(path Path, t int64, reason string) error {
	p, ok, err := path.Before(t)
	if ok && err == nil {
		d.add(p, reason)
	}
	return err
}

// oldest keeps what the disks were when the oldest tier begins: the last point
// before, of those that end a bucket of that tier. Others went long ago, when
// they were younger, so that what stays does not depend on how often one decides.
func (d *decision) oldest(in Input) error {
	begin := in.Now - int64(in.Policy.Longest()) + 1
	p, ok, err := in.Path.Before(begin)
	n := len(in.Policy.Tiers)
	if err != nil || !ok || n == 0 {
		return errors.Join(err, d.last(in.Path, begin, "oldest"))
	}
	step := in.Policy.Tiers[n-1].Step
	end, _, err := in.Path.Before(ceil(p.Time, step))
	if err != nil {
		return err
	}
	if end.Position != p.Position {
		begin = floor(p.Time, step)
	}
	return d.last(in.Path, begin, "oldest")
}

// tier keeps the last point of each bucket, from the newest back.
func (d *decision) tier(path Path, t catalog.Tier, now int64) error {
	oldest := now - int64(t.For)
	// The bucket in which Dense lies ends above it: its last point stays anyway,
	// unless nothing was written since.
	for end := ceil(d.Dense, t.Step); ; {
		p, ok, err := path.Before(end)
		if err != nil || !ok || p.Time < oldest {
			return err
		}
		d.add(p, TierReason(t))
		end = floor(p.Time, t.Step)
	}
}

// TierReason names a tier, such as "every 1m for 3d".
func TierReason(t catalog.Tier) string {
	return fmt.Sprintf("every %s for %s", catalog.FormatSpan(t.Step), catalog.FormatSpan(t.For))
}

// Names names what a policy's points are kept for: every write, then its tiers, and
// last what is older than all of them. TierOf counts from -1 on.
func Names(p catalog.Policy) []string {
	out := []string{"every write for " + catalog.FormatSpan(p.Every)}
	for _, t := range p.Tiers {
		out = append(out, TierReason(t))
	}
	return append(out, "older")
}

// floor returns the beginning of the bucket that holds t.
func floor(t int64, step time.Duration) int64 {
	n := t - t%int64(step)
	if n > t {
		n -= int64(step)
	}
	return n
}

// ceil returns the end of the bucket that holds t.
func ceil(t int64, step time.Duration) int64 { return floor(t, step) + int64(step) }
