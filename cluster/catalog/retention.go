package catalog

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Limits of a group's retention.
const (
	// MaxPins is the largest number of pins and holds of one group.
	MaxPins = 1024
	// MaxMarks is the largest number of bookmarks that are remembered below the
	// horizon of one group.
	MaxMarks = MaxBookmarks
	// MaxKept is the largest number of points below the horizon of one epoch that a
	// plan leaves. Those that are open when it goes on come on top of them.
	MaxKept = 1 << 20
	// MaxWork is the largest number of stretches of one plan.
	MaxWork = 4096
	// ClockJump is how far retention's clock may go forward at once, in
	// nanoseconds. Beyond it nothing is thinned until ConfirmClock.
	ClockJump = int64(7 * day)
)

// Retention is what is kept of a group's history. Values that the Catalog
// returns share their slices with it: do not change them.
type Retention struct {
	Policy Policy `json:"policy"`
	Set    bool   `json:"set"` // somebody chose the policy
	Gen    uint64 `json:"gen"` // rises with every change of policy and pins
	// Clock is the latest time that retention has reckoned with, Unix
	// nanoseconds. It only rises, and never by more than ClockJump at once.
	Clock  int64   `json:"clock"`
	Pins   []Pin   `json:"pins,omitempty"`   // by name
	Marks  []Mark  `json:"marks,omitempty"`  // bookmarks below the horizons that are kept, oldest first
	Tracks []Track `json:"tracks,omitempty"` // by epoch
	Plans  uint64  `json:"plans"`            // how many were begun
	Plan   *Plan   `json:"plan,omitempty"`   // the one under way
	// Of all plans so far.
	DroppedSegments uint64 `json:"dropped_segments"`
	FreedBytes      uint64 `json:"freed_bytes"` // of shards, on all nodes
}

// Track says which points of an epoch there are: every LSN from Horizon on,
// and below it those of Points. An epoch without a Track has all of its points.
type Track struct {
	Epoch   redoubt.Epoch `json:"epoch"`
	Horizon redoubt.LSN   `json:"horizon"`
	Points  []Kept        `json:"points,omitempty"` // rising
}

// Kept is a point below the horizon.
type Kept struct {
	LSN  redoubt.LSN `json:"lsn"`
	Time int64       `json:"time"` // of the write, Unix nanoseconds
}

// Mark is a bookmark.
type Mark struct {
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"`
	Name     string           `json:"name"`
}

// PinKind says who may end a pin.
type PinKind uint8

// The kinds of a Pin.
const (
	PinOperator PinKind = 1 // RemovePin ends it
	PinHold     PinKind = 2 // nobody ends it before its date
	PinExport   PinKind = 3 // of an open test failover; ends with it
)

// String returns the kind's name.
func (k PinKind) String() string {
	switch k {
	case PinOperator:
		return "pin"
	case PinHold:
		return "hold"
	case PinExport:
		return "export"
	}
	return fmt.Sprintf("kind-%d", uint8(k))
}

// Pin keeps one point, whatever the policy says.
type Pin struct {
	Name     string           `json:"name"`
	Kind     PinKind          `json:"kind"`
	Position redoubt.Position `json:"position"`
	Time     int64            `json:"time"`            // of the write, Unix nanoseconds
	Until    int64            `json:"until,omitempty"` // Unix nanoseconds by retention's clock; 0: no end
	By       string           `json:"by,omitempty"`
}

// Over reports whether the pin has ended at the time now of retention's clock.
func (p *Pin) Over(now int64) bool { return p.Until != 0 && p.Until <= now }

// Phase is how far a plan is.
type Phase uint8

// The phases of a Plan.
const (
	// PhaseAnnounced: the points are refused, nothing is deleted yet. Points
	// that somebody has open can still be taken out of the plan.
	PhaseAnnounced Phase = 1
	// PhaseThinning: segments are rewritten or dropped, in order.
	PhaseThinning Phase = 2
)

// String returns the phase's name.
func (p Phase) String() string {
	switch p {
	case PhaseAnnounced:
		return "announced"
	case PhaseThinning:
		return "thinning"
	}
	return fmt.Sprintf("phase-%d", uint8(p))
}

// Left is the number of segments that the plan still looks at.
func (p *Plan) Left() (n uint64) {
	for _, w := range p.Work {
		n += w.To - w.From
	}
	return n
}

// Plan is a deletion under way.
type Plan struct {
	ID    uint64 `json:"id"`
	Now   int64  `json:"now"`
	Phase Phase  `json:"phase"`
	// Before holds the tracks as they were, while points can be taken out of the plan.
	Before []Track `json:"before,omitempty"`
	Work   []Work  `json:"work,omitempty"` // what is left, in order
}

// Work is a range of segments of which a plan may take bytes away.
type Work struct {
	Epoch    redoubt.Epoch `json:"epoch"`
	From, To uint64        // ordinals [From, To)
}

// Has reports whether p is a point, as far as retention is concerned.
func (r *Retention) Has(p redoubt.Position) bool { return hasPoint(r.Tracks, p) }

func hasPoint(ts []Track, p redoubt.Position) bool {
	t, ok := trackOf(ts, p.Epoch)
	if !ok || p.LSN >= t.Horizon {
		return true
	}
	_, ok = t.find(p.LSN)
	return ok
}

// Track returns the track of an epoch; without one, its horizon is 0.
func (r *Retention) Track(e redoubt.Epoch) Track {
	t, _ := trackOf(r.Tracks, e)
	return t
}

func trackOf(ts []Track, e redoubt.Epoch) (Track, bool) {
	for i := range ts {
		if ts[i].Epoch == e {
			return ts[i], true
		}
	}
	return Track{Epoch: e}, false
}

func (t *Track) find(l redoubt.LSN) (int, bool) {
	return slices.BinarySearchFunc(t.Points, l, func(k Kept, l redoubt.LSN) int { return cmp.Compare(k.LSN, l) })
}

// Next returns the first point of the track at or after l. Above the horizon
// it is l itself.
func (t *Track) Next(l redoubt.LSN) redoubt.LSN {
	if i, _ := t.find(l); l < t.Horizon && i < len(t.Points) {
		return t.Points[i].LSN
	}
	return max(l, t.Horizon)
}

// retention returns the group's retention; a group that has none yet has the default.
func (s *state) retention(id redoubt.GroupID) *Retention {
	if r, ok := s.retain[id]; ok {
		return r
	}
	return &Retention{Policy: DefaultPolicy()}
}

// Retention returns what is kept of the group.
func (c *Catalog) Retention(id redoubt.GroupID) Retention {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return *c.s.retention(id)
}

// retained refuses a position that retention has taken away.
func (s *state) retained(op string, g *Group, p redoubt.Position) error {
	if s.retention(g.ID).Has(p) {
		return nil
	}
	return fail(op, string(g.ID), fmt.Errorf("point %s is not retained: %w", p, redoubt.ErrNotFound), "redoubt points lists those that are")
}
