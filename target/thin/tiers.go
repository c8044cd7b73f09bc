package thin

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// Tier is what one tier of a policy holds at present, over all branches.
type Tier struct {
	Name   string // such as "every write for 15m", "every 1s for 1d", "older"
	Points uint64
	Bytes  uint64 // of shards of the segments of that age, on all nodes
	Oldest int64  // Unix nanoseconds; 0: it holds nothing
	Newest int64
}

// Tiers sorts the group's points and stored bytes by the tiers of its policy.
func (th *Thinner) Tiers(ctx context.Context, id redoubt.GroupID) ([]Tier, error) {
	if err := th.o.Cluster.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := th.o.History.Group(id)
	if err != nil {
		return nil, err
	}
	r := th.o.Catalog.Retention(id)
	return th.tiers(ctx, &g, &r, th.o.History.Clock(&g))
}

func newTiers(p catalog.Policy) (out []Tier) {
	for _, name := range retention.Names(p) {
		out = append(out, Tier{Name: name})
	}
	return out
}

func (t *Tier) see(at int64) {
	if t.Oldest == 0 || at < t.Oldest {
		t.Oldest = at
	}
	t.Newest = max(t.Newest, at)
}

func (th *Thinner) tiers(ctx context.Context, g *catalog.Group, r *catalog.Retention, now int64) ([]Tier, error) {
	out := newTiers(r.Policy)
	tier := func(at int64) *Tier { return &out[retention.TierOf(r.Policy, at, now)+1] }
	for _, f := range g.Lineage {
		track := r.Track(f.Epoch)
		for _, k := range track.Points {
			t := tier(k.Time)
			t.Points++
			t.see(k.Time)
		}
		for from := uint64(0); ctx.Err() == nil; {
			segs := th.o.Catalog.Segments(g.ID, f.Epoch, from, 1024)
			if len(segs) == 0 {
				break
			}
			for i := range segs {
				sg := &segs[i]
				t := tier(sg.LastTime)
				t.Bytes += uint64(sg.ShardSize) * uint64(len(sg.Nodes))
				if first := max(sg.First, track.Horizon, g.Baseline); g.Baseline > 0 && first <= sg.Last {
					t.Points += uint64(sg.Last - first + 1)
					t.see(sg.LastTime)
				}
			}
			from += uint64(len(segs))
		}
	}
	return out, ctx.Err()
}

// Preview is what a policy would do to a group's history now.
type Preview struct {
	Policy catalog.Policy
	Now    int64 // the time that retention reckons with
	Keep   []PreviewKeep
	Drop   []PreviewDrop
	// Frees bounds the bytes of shards that can go: those of the segments that
	// the plan looks at.
	Frees    uint64
	Tiers    []Tier // as they are now, by the policy's ages
	Forecast Forecast
}

// PreviewKeep counts points that stay for one reason.
type PreviewKeep struct {
	Reason string
	Points uint64
}

// PreviewDrop counts points that go for one reason.
type PreviewDrop struct {
	Reason         string
	Points         uint64
	Oldest, Newest int64
}

// Preview says what the policy (nil: the group's own) keeps and drops, why, and
// what it costs. It changes nothing.
func (th *Thinner) Preview(ctx context.Context, id redoubt.GroupID, policy *catalog.Policy) (*Preview, error) {
	if err := th.o.Cluster.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := th.o.History.Group(id)
	if err != nil {
		return nil, err
	}
	if g.Baseline == 0 {
		return nil, &redoubt.Error{Op: "plan retention of group", Object: string(id), Err: fmt.Errorf("the first copy is not complete: %w", redoubt.ErrState), Hint: "there is no recovery point yet"}
	}
	o, err := th.decide(ctx, id, policy, th.o.History.Clock(&g))
	if err != nil {
		return nil, err
	}
	changes, err := o.changes(ctx, th)
	if err != nil {
		return nil, err
	}
	p := &Preview{Policy: o.r.Policy, Now: o.now}
	for _, w := range o.work(th, changes) {
		for _, sg := range th.o.Catalog.Segments(id, w.Epoch, w.From, int(w.To-w.From)) {
			p.Frees += uint64(sg.ShardSize) * uint64(len(sg.Nodes))
		}
	}
	p.count(o, changes, th)
	if p.Tiers, err = th.tiers(ctx, &o.g, &o.r, o.now); err != nil {
		return nil, err
	}
	p.Forecast, err = th.forecast(ctx, id, o.r.Policy)
	return p, err
}

// count adds up the reasons.
func (p *Preview) count(o *outlook, changes []catalog.TrackChange, th *Thinner) {
	keep, drop := map[string]*PreviewKeep{}, map[string]*PreviewDrop{}
	stay := func(reason string, n uint64) {
		if keep[reason] == nil {
			p.Keep = append(p.Keep, PreviewKeep{Reason: reason})
			keep[reason] = &PreviewKeep{}
		}
		keep[reason].Points += n
	}
	go1 := func(at int64, n uint64) {
		reason := retention.Explain(p.Policy, at, p.Now)
		d := drop[reason]
		if d == nil {
			p.Drop = append(p.Drop, PreviewDrop{Reason: reason})
			d = &PreviewDrop{Oldest: at}
			drop[reason] = d
		}
		d.Points, d.Oldest, d.Newest = d.Points+n, min(d.Oldest, at), max(d.Newest, at)
	}
	for _, f := range o.g.Lineage {
		c := catalog.TrackChange{Epoch: f.Epoch, Horizon: o.r.Track(f.Epoch).Horizon}
		for i := range changes {
			if changes[i].Epoch == f.Epoch {
				c = changes[i]
			}
		}
		if head, ok := th.o.Catalog.Head(o.g.ID, f.Epoch); ok && head >= max(c.Horizon, f.At+1, o.g.Baseline) {
			stay("every write", uint64(head-max(c.Horizon, f.At+1, o.g.Baseline)+1))
		}
		p.countDropped(o, &c, th, go1)
		for _, k := range o.keep[f.Epoch] {
			stay(k.Reasons[0], 1)
		}
	}
	for i := range p.Keep {
		p.Keep[i].Points = keep[p.Keep[i].Reason].Points
	}
	for i := range p.Drop {
		d := drop[p.Drop[i].Reason]
		d.Reason = p.Drop[i].Reason
		p.Drop[i] = *d
	}
}

// countDropped counts the points of one epoch that go, those between two
// horizons by the time of their segment.
func (p *Preview) countDropped(o *outlook, c *catalog.TrackChange, th *Thinner, gone func(at int64, n uint64)) {
	old := o.r.Track(c.Epoch)
	next := 0
	for _, k := range old.Points {
		if next < len(c.Drop) && c.Drop[next] == k.LSN {
			gone(k.Time, 1)
			next++
		}
	}
	sg, ok := th.o.Catalog.FindSegment(o.g.ID, c.Epoch, max(old.Horizon, o.g.Baseline))
	for keep := c.Keep; ok && sg.First < c.Horizon; {
		from, to := max(sg.First, old.Horizon, o.g.Baseline), min(sg.Last+1, c.Horizon)
		n := uint64(to - min(from, to))
		for ; len(keep) > 0 && keep[0].LSN < to; keep = keep[1:] {
			n--
		}
		if n > 0 {
			gone(sg.LastTime, n)
		}
		segs := th.o.Catalog.Segments(o.g.ID, c.Epoch, sg.Ordinal+1, 1)
		if ok = len(segs) == 1; ok {
			sg = segs[0]
		}
	}
}
