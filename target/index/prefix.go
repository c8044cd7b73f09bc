package index

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// Span is a prefix of a series: all of the ordinals below Full and, if Partial,
// of the ordinal Full the entries with LSN <= Upto. With From it is a stretch
// that begins there.
type Span struct {
	Series
	From    uint64
	Full    uint64
	Partial bool
	Upto    redoubt.LSN
}

// Prefix answers lookups at one point of the history. It stays right while the
// index goes on. Methods may be called concurrently.
type Prefix struct {
	x       *Index
	spans   []Span
	partial [][]flat // per span

	mu    sync.Mutex
	gen   uint64
	parts []part // newest first
}

// part is a run of the prefix: stored, in memory, or a head that is loaded when
// it is needed.
type part struct {
	epoch   redoubt.Epoch
	mem     []flat
	stored  known
	series  Series
	ordinal uint64
}

// refreshAbove is the number of parts beyond which a prefix looks whether
// merges have made it shorter: more than any settled history needs.
const refreshAbove = 48

// Prefix opens the point that spans, newest first, make up. It reads at most
// one head per span.
func (x *Index) Prefix(ctx context.Context, spans []Span) (*Prefix, error) {
	p := &Prefix{x: x, spans: spans, partial: make([][]flat, len(spans))}
	for i, s := range spans {
		if !s.Partial {
			continue
		}
		es, err := x.o.Heads.Entries(ctx, s.Series, s.Full)
		if err != nil {
			return nil, err
		}
		p.partial[i] = flatten(es, s.Full, 0, s.Upto)
	}
	p.refresh()
	return p, nil
}

// refresh chooses the runs anew. p.mu is held, or p is not shared yet.
func (p *Prefix) refresh() {
	p.x.mu.Lock()
	defer p.x.mu.Unlock()
	p.gen, p.parts = p.x.gen, nil
	for i, s := range p.spans {
		if s.Partial {
			p.parts = append(p.parts, part{epoch: s.Epoch, mem: p.partial[i]})
		}
		ps := p.x.cover(s.Series, s.From, s.Full)
		slices.Reverse(ps)
		p.parts = append(p.parts, ps...)
	}
}

// cover tiles the ordinals [lo, hi) with the largest runs there are, oldest
// first, but for those of which nothing is left. x.mu is held.
func (x *Index) cover(s Series, lo, hi uint64) []part {
	var out []part
	for lo < hi {
		var best known
		for size := uint64(1) << x.o.FanBits; lo%size == 0 && lo+size <= hi && size != 0; size <<= x.o.FanBits {
			if k := x.runs.get(runKey{s, lo, size}); k.there() {
				best = k
			}
		}
		if !best.there() {
			if next := x.skip(s, lo, hi); next > lo {
				lo = next
				continue
			}
			out = append(out, part{epoch: s.Epoch, series: s, ordinal: lo})
			lo++
			continue
		}
		out = append(out, part{epoch: s.Epoch, stored: best})
		lo += best.count
	}
	return out
}

// head returns the flattened entries of a whole segment.
func (x *Index) head(ctx context.Context, s Series, ordinal uint64) ([]flat, error) {
	return x.heads.Load(headKey{s, ordinal}, func() ([]flat, int64, error) {
		es, err := x.o.Heads.Entries(ctx, s, ordinal)
		if err != nil {
			return nil, 0, err
		}
		fs := flatten(es, ordinal, 0, ^redoubt.LSN(0))
		return fs, int64(64 + 64*len(fs)), nil
	})
}

func (p *Prefix) snapshot() []part {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.parts) > refreshAbove {
		p.x.mu.Lock()
		stale := p.gen != p.x.gen
		p.x.mu.Unlock()
		if stale {
			p.refresh()
		}
	}
	return p.parts
}

// Parts returns how many runs a lookup may have to visit.
func (p *Prefix) Parts() int { return len(p.snapshot()) }

func (p *Prefix) cursor(ctx context.Context, pt *part) (cursor, error) {
	switch {
	case pt.stored.there():
		r, err := p.x.header(pt.stored)
		return &runCursor{x: p.x, r: r}, err
	case pt.mem != nil || pt.series == Series{}:
		return &memCursor{fs: pt.mem}, nil
	}
	fs, err := p.x.head(ctx, pt.series, pt.ordinal)
	return &memCursor{fs: fs}, err
}

// retry calls fn with the present parts until it meets no rotten run: each is
// dropped, and replaced by what it was merged from. Runs that lie elsewhere by
// now are looked up again.
func (p *Prefix) retry(fn func([]part) (bad known, err error)) error {
	for {
		bad, err := fn(p.snapshot())
		switch {
		case errors.Is(err, errMoved):
		case !bad.there() || !errors.Is(err, redoubt.ErrCorrupt):
			return err
		default:
			p.x.drop(bad, err)
		}
		p.mu.Lock()
		p.refresh()
		p.mu.Unlock()
	}
}

// Lookup returns the pieces that cover e, in order, without gaps.
func (p *Prefix) Lookup(ctx context.Context, d redoubt.DiskID, e redoubt.Extent) (out []Piece, err error) {
	err = p.retry(func(parts []part) (known, error) {
		out = out[:0]
		gaps := []redoubt.Extent{e}
		for i := range parts {
			if len(gaps) == 0 {
				break
			}
			pt := &parts[i]
			c, err := p.cursor(ctx, pt)
			if err == nil {
				gaps, out, err = fill(ctx, c, d, pt.epoch, gaps, out)
			}
			if err != nil {
				return pt.stored, err
			}
		}
		for _, g := range gaps {
			out = append(out, Piece{Extent: g})
		}
		return known{}, nil
	})
	slices.SortFunc(out, func(a, b Piece) int {
		if a.Extent.Off < b.Extent.Off {
			return -1
		}
		return 1
	})
	return out, err
}

// fill takes from the run what lies in the gaps; it returns the gaps that are left.
func fill(ctx context.Context, c cursor, d redoubt.DiskID, epoch redoubt.Epoch, gaps []redoubt.Extent, out []Piece) ([]redoubt.Extent, []Piece, error) {
	var left []redoubt.Extent
	for _, g := range gaps {
		if g.Len == 0 {
			continue
		}
		if err := c.seek(ctx, d, g.Off); err != nil {
			return nil, out, err
		}
		pos := g.Off
		for f := c.entry(); f != nil && f.disk == d && f.off < g.End(); f = c.entry() {
			from, to := max(f.off, pos), min(f.end(), g.End())
			if from > pos {
				left = append(left, redoubt.Extent{Off: pos, Len: from - pos})
			}
			piece := Piece{Extent: redoubt.Extent{Off: from, Len: to - from}, Kind: Zero}
			if cut := f.clip(from, to); !f.zero {
				piece.Kind, piece.Ref = Data, cut.ref(epoch)
			}
			out = append(out, piece)
			pos = to
			if err := c.next(ctx); err != nil {
				return nil, out, err
			}
		}
		if pos < g.End() {
			left = append(left, redoubt.Extent{Off: pos, Len: g.End() - pos})
		}
	}
	return left, out, nil
}

// NextData returns the next extent of the disk at or after from that holds
// data, at most max bytes of it; ok is false if there is none below limit.
func (p *Prefix) NextData(ctx context.Context, d redoubt.DiskID, from, limit, maxLen uint64) (e redoubt.Extent, ok bool, err error) {
	for from < limit {
		at := limit
		err := p.retry(func(parts []part) (known, error) {
			at = limit
			for i := range parts {
				c, err := p.cursor(ctx, &parts[i])
				if err == nil {
					err = c.seek(ctx, d, from)
				}
				for err == nil {
					f := c.entry()
					if f == nil || f.disk != d || f.off >= at {
						break
					}
					if !f.zero {
						at = max(f.off, from)
						break
					}
					err = c.next(ctx)
				}
				if err != nil {
					return parts[i].stored, err
				}
			}
			return known{}, nil
		})
		if err != nil || at >= limit {
			return redoubt.Extent{}, false, err
		}
		// A newer run may have zeroed what an older one holds there.
		ps, err := p.Lookup(ctx, d, redoubt.Extent{Off: at, Len: min(maxLen, limit-at)})
		if err != nil {
			return redoubt.Extent{}, false, err
		}
		for _, q := range ps {
			switch {
			case q.Kind == Data && e.Len == 0:
				e = q.Extent
			case q.Kind == Data:
				e.Len += q.Extent.Len
			case e.Len > 0:
				return e, true, nil
			}
			from = q.Extent.End()
		}
		if e.Len > 0 {
			return e, true, nil
		}
	}
	return redoubt.Extent{}, false, nil
}
