package thin

import (
	"cmp"
	"context"
	"errors"
	"math"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// outlook is what retention decides for a group at one time.
type outlook struct {
	g        catalog.Group
	r        catalog.Retention
	now      int64
	dense    int64 // every write from this time on stays
	trunk    []redoubt.Stretch
	branches []redoubt.Stretch
	keep     map[redoubt.Epoch][]retention.Kept // older than dense, rising
	marks    []catalog.Mark                     // bookmarks that come below the horizon
}

// decide applies policy (nil: the group's) to what the catalog knows.
func (th *Thinner) decide(ctx context.Context, id redoubt.GroupID, policy *catalog.Policy, now int64) (*outlook, error) {
	g, err := th.o.History.Group(id)
	if err != nil {
		return nil, err
	}
	o := &outlook{g: g, r: th.o.Catalog.Retention(id), now: now, keep: map[redoubt.Epoch][]retention.Kept{}}
	if policy != nil {
		o.r.Policy = *policy
	}
	o.dense = now - int64(o.r.Policy.Every)
	o.trunk, o.branches = th.o.History.Lines(&g)
	o.marks = th.newMarks(o)
	pinned, err := o.pinned(ctx, th)
	if err != nil {
		return nil, err
	}
	for i, line := range append([][]redoubt.Stretch{o.trunk}, single(o.branches)...) {
		d, err := retention.Decide(retention.Input{Policy: o.r.Policy, Now: now, Branch: i > 0, Pinned: on(line, pinned),
			Path: th.o.History.Timeline(ctx, &o.g, &o.r, line)})
		if err != nil {
			return nil, err
		}
		for _, k := range d.Keep {
			o.keep[k.Position.Epoch] = append(o.keep[k.Position.Epoch], k)
		}
	}
	for e := range o.keep {
		slices.SortFunc(o.keep[e], func(a, b retention.Kept) int { return cmp.Compare(a.Position.LSN, b.Position.LSN) })
	}
	return o, nil
}

func single(sts []redoubt.Stretch) (out [][]redoubt.Stretch) {
	for _, st := range sts {
		out = append(out, []redoubt.Stretch{st})
	}
	return out
}

// on returns the points that lie on the line.
func on(line []redoubt.Stretch, ps []retention.Pinned) (out []retention.Pinned) {
	for _, p := range ps {
		if slices.ContainsFunc(line, func(st redoubt.Stretch) bool {
			return st.Epoch == p.Position.Epoch && p.Position.LSN > st.From && p.Position.LSN <= st.To
		}) {
			out = append(out, p)
		}
	}
	return out
}

// pinned lists what stays whatever its age.
func (o *outlook) pinned(ctx context.Context, th *Thinner) (out []retention.Pinned, err error) {
	add := func(p redoubt.Position, reason string) {
		at, terr := th.o.History.TimeOf(ctx, &o.g, &o.r, p)
		if err = errors.Join(err, terr); o.r.Has(p) && terr == nil {
			out = append(out, retention.Pinned{Point: retention.Point{Position: p, Time: at}, Reason: reason})
		}
	}
	for _, p := range o.r.Pins {
		if !p.Over(o.now) {
			add(p.Position, p.Kind.String()+" "+p.Name)
		}
	}
	for _, m := range append(slices.Clone(o.r.Marks), o.marks...) {
		if o.now-m.Time < int64(o.r.Policy.Bookmarks) {
			add(m.Position, "bookmark "+m.Name)
		}
	}
	if g := &o.g; g.State == catalog.StateFailedOver || g.State == catalog.StateReverseReplicating {
		add(g.Written(g.Promoted), "production lies over it")
	}
	return out, err
}

// newMarks finds the bookmarks that come below the horizon.
func (th *Thinner) newMarks(o *outlook) (out []catalog.Mark) {
	for _, f := range o.g.Lineage {
		head, ok := th.o.Catalog.Head(o.g.ID, f.Epoch)
		if !ok {
			continue
		}
		// What is below the horizon already is in the catalog's retention, or gone.
		st := redoubt.Stretch{Epoch: f.Epoch, From: max(f.At, o.r.Track(f.Epoch).Horizon, 1) - 1, To: head}
		bs := th.o.Catalog.Bookmarks(o.g.ID, st, catalog.MaxBookmarks, func(b *catalog.Bookmark) bool { return b.Time < o.dense })
		for _, b := range slices.Backward(bs) {
			if m := (catalog.Mark{Position: b.Position, Time: b.Time, Name: b.Name}); !slices.Contains(o.r.Marks, m) {
				out = append(out, m)
			}
		}
	}
	return out
}

// changes turns the decision into changes of the catalog's tracks.
func (o *outlook) changes(ctx context.Context, th *Thinner) (out []catalog.TrackChange, err error) {
	for _, f := range o.g.Lineage {
		old := o.r.Track(f.Epoch)
		c := catalog.TrackChange{Epoch: f.Epoch, Horizon: old.Horizon}
		head, ok := th.o.Catalog.Head(o.g.ID, f.Epoch)
		if !ok || th.o.Catalog.SegmentCount(o.g.ID, f.Epoch) == 0 {
			continue
		}
		lsn, _, found, err := th.o.History.LastWrite(ctx, &o.g, f.Epoch, head, o.dense-1)
		if err != nil {
			return nil, err
		}
		if found {
			c.Horizon = max(c.Horizon, lsn+1)
		}
		_, c.HorizonTime, _, err = th.o.History.LastWrite(ctx, &o.g, f.Epoch, min(c.Horizon, head), math.MaxInt64)
		if err != nil {
			return nil, err
		}
		stays := map[redoubt.LSN]bool{}
		for _, k := range o.keep[f.Epoch] {
			stays[k.Position.LSN] = true
			if l := k.Position.LSN; l >= old.Horizon && l < c.Horizon {
				c.Keep = append(c.Keep, catalog.Kept{LSN: l, Time: k.Time})
			}
		}
		for _, p := range old.Points {
			if !stays[p.LSN] {
				c.Drop = append(c.Drop, p.LSN)
			}
		}
		if c.Horizon != old.Horizon || len(c.Drop) > 0 {
			out = append(out, c)
		}
	}
	return out, nil
}
