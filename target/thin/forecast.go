package thin

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/peers"
)

// Forecast says whether the nodes have room for the history that a policy asks for.
type Forecast struct {
	Free  uint64  // bytes that the nodes' file systems have left, all together
	Rate  float64 // bytes a day by which the group's history grows at present; 0: it is full
	Needs uint64  // bytes more that the whole history will take; 0 with Rate 0
	// Short says that Free ends before the history reaches as far back as the
	// policy says; then End is when, Unix nanoseconds, and Reach how far back the
	// history reaches by then.
	Short bool
	End   int64
	Reach time.Duration
}

// band is a part of a policy's reach with what a day of it costs.
type band struct {
	from, to time.Duration // ages
	bytes    uint64        // stored now
	oldest   time.Duration // age of the oldest point in it; 0 if it holds nothing
}

// predict lets the history grow through the bands, from its present age on. A
// band that holds less than a tenth of what it will hold says nothing yet: it
// costs what the band before it costs.
func predict(bands []band, now int64, free uint64) Forecast {
	f := Forecast{Free: free}
	rate := 0.0 // bytes per nanosecond of age
	left := float64(free)
	clock := time.Duration(0)
	for i, b := range bands {
		width, covered := b.to-b.from, max(0, min(b.oldest, b.to)-b.from)
		if covered > width/10 || i == 0 && covered > 0 {
			rate = float64(b.bytes) / float64(covered)
		}
		missing := width - covered
		if missing <= 0 || rate == 0 || i+1 < len(bands) && bands[i+1].oldest > 0 {
			continue
		}
		if f.Rate == 0 {
			f.Rate = rate * float64(24*time.Hour)
		}
		need := rate * float64(missing)
		f.Needs += uint64(need)
		if !f.Short && need > left {
			fits := time.Duration(left / rate)
			f.Short, f.End, f.Reach = true, now+int64(clock+fits), b.from+covered+fits
		}
		left -= need
		clock += missing
	}
	return f
}

// forecast predicts the growth of one group; the free space is shared by all
// groups as they grow.
func (th *Thinner) forecast(ctx context.Context, id redoubt.GroupID, policy catalog.Policy) (Forecast, error) {
	free, err := th.freeBytes(ctx)
	if err != nil {
		return Forecast{}, err
	}
	bands := map[redoubt.GroupID][]band{}
	rates, at := map[redoubt.GroupID]float64{}, map[redoubt.GroupID]int64{}
	total := 0.0
	for _, g := range th.o.Catalog.Groups() {
		r := th.o.Catalog.Retention(g.ID)
		if g.ID == id {
			r.Policy = policy
		}
		at[g.ID] = th.o.History.Clock(&g)
		ts, err := th.tiers(ctx, &g, &r, at[g.ID])
		if err != nil {
			return Forecast{}, err
		}
		bands[g.ID] = bandsOf(r.Policy, ts, at[g.ID])
		rates[g.ID] = predict(bands[g.ID], at[g.ID], free).Rate
		total += rates[g.ID]
	}
	share := float64(free)
	if total > 0 {
		share *= rates[id] / total
	}
	f := predict(bands[id], at[id], uint64(share))
	f.Free = free
	return f, nil
}

func bandsOf(p catalog.Policy, ts []Tier, now int64) []band {
	reach := []time.Duration{p.Every}
	for _, t := range p.Tiers {
		reach = append(reach, t.For)
	}
	var out []band
	from := time.Duration(0)
	for i, to := range reach {
		b := band{from: from, to: to, bytes: ts[i].Bytes}
		if ts[i].Oldest != 0 {
			b.oldest = max(1, time.Duration(now-ts[i].Oldest))
		}
		out, from = append(out, b), to
	}
	return out
}

// freeBytes adds up what the nodes that take shards have left.
func (th *Thinner) freeBytes(ctx context.Context) (sum uint64, err error) {
	if th.o.Peers.Up(th.o.Self) {
		if sum, err = th.o.Free(); err != nil {
			return 0, err
		}
	}
	for _, n := range th.o.Catalog.Nodes() {
		if n.ID == th.o.Self || !th.o.Peers.Up(n.ID) {
			continue
		}
		b, err := th.o.Peers.Read(ctx, n.ID, methodSpace, peers.Encode(struct{}{}))
		if err != nil {
			th.o.Logger.Warn("free space of a node is not known", "node", n.ID, "err", err)
			continue
		}
		var free uint64
		if _, err := peers.Decode(b, &free); err != nil {
			return 0, err
		}
		sum += free
	}
	return sum, nil
}

func (th *Thinner) serveSpace(context.Context, []byte) ([]byte, error) {
	free, err := th.o.Free()
	if err != nil {
		return nil, err
	}
	return peers.Encode(free), nil
}
