package catalog

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Policy says which recovery points of a group are kept. Times are those of
// the writes; buckets of a tier begin at multiples of its Step since 1970 UTC.
type Policy struct {
	// Every keeps every write that is younger.
	Every time.Duration `json:"every"`
	// Tiers keep the last write of each bucket; by rising Step, each a multiple
	// of the one before, and rising For.
	Tiers []Tier `json:"tiers"`
	// Bookmarks keeps bookmarks that are younger, whatever the tiers say.
	Bookmarks time.Duration `json:"bookmarks"`
}

// Tier keeps one point per Step for writes younger than For.
type Tier struct {
	Step time.Duration `json:"step"`
	For  time.Duration `json:"for"`
}

const (
	maxTiers = 16
	day      = 24 * time.Hour
	// maxSpan is the longest time of a policy: a century.
	maxSpan = 100 * 366 * day
)

// DefaultPolicy holds where nobody set another one.
func DefaultPolicy() Policy {
	return Policy{Every: 15 * time.Minute, Bookmarks: 60 * day,
		Tiers: []Tier{{time.Second, day}, {time.Minute, 3 * day}, {time.Hour, 14 * day}, {day, 60 * day}}}
}

// Longest is the age at which the last tier ends.
func (p Policy) Longest() time.Duration {
	if n := len(p.Tiers); n > 0 {
		return p.Tiers[n-1].For
	}
	return p.Every
}

// Validate returns ErrInvalid and says what is wrong.
func (p Policy) Validate() error {
	bad := func(format string, a ...any) error {
		return fail("check retention policy", p.String(), fmt.Errorf(format+": %w", append(a, redoubt.ErrInvalid)...),
			"such as "+DefaultPolicy().String())
	}
	if p.Every < time.Second || p.Every > maxSpan || p.Bookmarks < 0 || p.Bookmarks > maxSpan {
		return bad("every write is kept for at least a second, at most a century")
	}
	if len(p.Tiers) > maxTiers {
		return bad("%d tiers, at most %d", len(p.Tiers), maxTiers)
	}
	last := Tier{Step: time.Second, For: p.Every}
	for i, t := range p.Tiers {
		switch {
		case t.Step < time.Second || t.Step%last.Step != 0 || i > 0 && t.Step == last.Step:
			return bad("a step of %s after one of %s: it must be a multiple", FormatSpan(t.Step), FormatSpan(last.Step))
		case t.For <= last.For || t.For > maxSpan:
			return bad("tier %s for %s: it must reach further back than the one before", FormatSpan(t.Step), FormatSpan(t.For))
		case t.For < t.Step:
			return bad("tier %s for %s holds no bucket", FormatSpan(t.Step), FormatSpan(t.For))
		}
		last = t
	}
	return nil
}

// String returns the form that ParsePolicy reads: "every=15m,1s=1d,1m=3d,bookmarks=60d".
func (p Policy) String() string {
	out := []string{"every=" + FormatSpan(p.Every)}
	for _, t := range p.Tiers {
		out = append(out, FormatSpan(t.Step)+"="+FormatSpan(t.For))
	}
	return strings.Join(append(out, "bookmarks="+FormatSpan(p.Bookmarks)), ",")
}

// ParsePolicy reads what String writes. A tier that is not named is not kept;
// every must be there. Without bookmarks the time of DefaultPolicy holds: who
// wants none kept says bookmarks=0s. The result is valid.
func ParsePolicy(s string) (Policy, error) {
	p := Policy{Bookmarks: DefaultPolicy().Bookmarks}
	for _, part := range strings.Split(s, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		d, err := ParseSpan(value)
		if !ok || err != nil {
			return p, fail("parse retention policy", s, fmt.Errorf("%q: %w", part, redoubt.ErrInvalid), "such as "+DefaultPolicy().String())
		}
		switch name {
		case "every":
			p.Every = d
		case "bookmarks":
			p.Bookmarks = d
		default:
			step, err := ParseSpan(name)
			if err != nil {
				return p, err
			}
			p.Tiers = append(p.Tiers, Tier{step, d})
		}
	}
	return p, p.Validate()
}

// ParseSpan reads a duration as time.ParseDuration does, and days such as "60d".
func ParseSpan(s string) (time.Duration, error) {
	if n, ok := strings.CutSuffix(s, "d"); ok {
		if v, err := strconv.ParseUint(n, 10, 16); err == nil {
			return time.Duration(v) * day, nil
		}
	}
	d, err := time.ParseDuration(s)
	if err == nil && d < 0 {
		err = errors.New("negative")
	}
	if err != nil {
		return 0, fail("parse length of time", s, fmt.Errorf("%w: %w", err, redoubt.ErrInvalid), "such as 90s, 15m, 24h or 60d")
	}
	return d, nil
}

// FormatSpan writes d in the shortest form that ParseSpan reads.
func FormatSpan(d time.Duration) string {
	if d > 0 && d%day == 0 {
		return strconv.Itoa(int(d/day)) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

func (p Policy) equal(q Policy) bool {
	return p.Every == q.Every && p.Bookmarks == q.Bookmarks && slices.Equal(p.Tiers, q.Tiers)
}
