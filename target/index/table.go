package index

import (
	"math/bits"
	"slices"
)

// spot is where a run lies. There is one for every few segments of the history,
// so it is small; the rest is in the run's header.
type spot struct {
	file    uint32 // 0: there is none
	sector  uint32 // of 512 bytes, in the file
	entries uint32 // at most; more are counted as that
}

// weight is about the bytes that the run takes, for comparing files.
func (p spot) weight() uint64 { return runWeight + entryWeight*uint64(p.entries) }

const (
	runWeight   = 768
	entryWeight = 16
)

const (
	maxNumber = 1<<32 - 1 // of a file, and of a sector in it
	maxStart  = 1 << 40   // ordinals of a series
)

func (r *run) spot() spot {
	return spot{uint32(r.file), uint32(r.off / sector), uint32(min(r.entries, maxNumber))}
}

// fits reports whether a spot can name the run.
func (r *run) fits() bool {
	return r.file > 0 && r.file <= maxNumber && r.off%sector == 0 && r.off/sector <= maxNumber && r.start < maxStart && r.count < maxStart
}

// known is a run as the table has it.
type known struct {
	runKey
	spot
}

func (k known) there() bool { return k.file != 0 }

// table says where the runs of all series lie: by level, that is by size, and
// by number among those of that size.
type table struct {
	by      map[Series]*[][]spot
	fanBits int
	runs    int
	entries uint64
}

func newTable(fanBits int) table { return table{by: map[Series]*[][]spot{}, fanBits: fanBits} }

// level returns the level of runs of that size; ok is false if there is none.
func (t *table) level(size uint64) (int, bool) {
	n := bits.TrailingZeros64(size)
	return n / t.fanBits, size == 1<<n && n > 0 && n%t.fanBits == 0
}

func (t *table) get(k runKey) known {
	levels := t.by[k.Series]
	l, ok := t.level(k.count)
	if levels == nil || !ok || l >= len(*levels) || k.start/k.count >= uint64(len((*levels)[l])) {
		return known{runKey: k}
	}
	return known{k, (*levels)[l][k.start/k.count]}
}

// levels returns those of a series, to be changed.
func (t *table) levels(s Series) *[][]spot {
	levels := t.by[s]
	if levels == nil {
		levels = &[][]spot{}
		t.by[s] = levels
	}
	return levels
}

// gap returns the first start at or after from at which no run of that size is
// known.
func (t *table) gap(s Series, size, from uint64) uint64 {
	l, ok := t.level(size)
	levels := t.by[s]
	if !ok || levels == nil || l >= len(*levels) {
		return from
	}
	row := (*levels)[l]
	at := from / size
	for at < uint64(len(row)) && row[at].file != 0 {
		at++
	}
	return at * size
}

// reserve makes room for runs of a series: rows says how many there are at most
// of each size, by its exponent.
func (t *table) reserve(s Series, rows []uint64) {
	levels := t.levels(s)
	for exp, n := range rows {
		l, ok := t.level(1 << exp)
		if n == 0 || !ok {
			continue
		}
		for len(*levels) <= l {
			*levels = append(*levels, nil)
		}
		if row := &(*levels)[l]; uint64(cap(*row)) < n {
			*row = slices.Grow(*row, int(n)-len(*row))
		}
	}
}

// set enters a run, or with a zero spot takes it out.
func (t *table) set(k runKey, s spot) { t.setIn(t.levels(k.Series), k.start, k.count, s) }

// setIn is set for a series whose levels are at hand. Runs of sizes that are
// not in use are left out: merges would never find them.
func (t *table) setIn(levels *[][]spot, start, count uint64, s spot) {
	l, ok := t.level(count)
	if !ok || start%count != 0 {
		return
	}
	for len(*levels) <= l {
		*levels = append(*levels, nil)
	}
	row := &(*levels)[l]
	at := start / count
	for uint64(len(*row)) <= at {
		*row = append(*row, spot{})
	}
	old := &(*row)[at]
	if old.file != 0 {
		t.runs--
		t.entries -= uint64(old.entries)
	}
	if s.file != 0 {
		t.runs++
		t.entries += uint64(s.entries)
	}
	*old = s
}

// forget takes out the runs of the series that match accepts, and reports
// whether there were any.
func (t *table) forget(match func(Series) bool) (any bool) {
	for s, levels := range t.by {
		if !match(s) {
			continue
		}
		for _, row := range *levels {
			for _, p := range row {
				if p.file != 0 {
					t.runs--
					t.entries -= uint64(p.entries)
					any = true
				}
			}
		}
		delete(t.by, s)
	}
	return any
}

// all returns every run.
func (t *table) all() []known {
	out := make([]known, 0, t.runs)
	for s, levels := range t.by {
		for l, row := range *levels {
			size := uint64(1) << (l * t.fanBits)
			for i, p := range row {
				if p.file != 0 {
					out = append(out, known{runKey{s, uint64(i) * size, size}, p})
				}
			}
		}
	}
	return out
}

// header returns what the run's own header says, from memory or the disk. It
// returns ErrCorrupt if that is not the run's.
func (x *Index) header(k known) (*run, error) {
	return x.headers.Load(k.spot, func() (*run, int64, error) {
		r, err := x.readHeader(k)
		return r, headerBytes, err
	})
}

// headerBytes is what a header takes in memory.
const headerBytes = 320

func (x *Index) readHeader(k known) (*run, error) {
	b := make([]byte, sector)
	off := int64(k.sector) * sector
	if err := x.readAt(uint64(k.file), b, off); err != nil {
		return nil, err
	}
	r := &run{Series: k.Series}
	if _, err := r.decode(b); err != nil {
		return nil, err
	}
	if (runKey{r.Series, r.start, r.count}) != k.runKey || r.file != uint64(k.file) || r.off != off {
		return nil, corrupt("run of another place")
	}
	return r, nil
}

// streamOf is stream for a run of which only the place is known.
func (x *Index) streamOf(k known) stream {
	var s stream
	return func() (flat, bool, error) {
		if s == nil {
			r, err := x.header(k)
			if err != nil {
				return flat{}, false, err
			}
			s = x.stream(r)
		}
		return s()
	}
}

// drop forgets a run that was found rotten, and has it built again.
func (x *Index) drop(k known, reason error) {
	x.mu.Lock()
	if x.runs.get(k.runKey) == k {
		x.headers.Remove(k.spot)
		x.runs.set(k.runKey, spot{})
		x.gen++
		if s := x.series[k.Series]; s != nil {
			s.next[k.count] = min(s.next[k.count], k.start)
		}
		x.o.Logger.Error("index run is damaged; it is built again", "group", k.Group, "epoch", k.Epoch, "first", k.start, "count", k.count, "err", reason)
	}
	x.mu.Unlock()
	x.poke()
}
