package index

import (
	"context"
	"errors"
	"log/slog"
	"math/bits"
	"os"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
)

// Heads gives the entries of a committed segment, in the order of its delta.
// It is called concurrently. The result is not changed by either side.
type Heads interface {
	Entries(ctx context.Context, s Series, ordinal uint64) ([]Entry, error)
}

// Options of an Index.
type Options struct {
	FS         vfs.FS
	Heads      Heads
	Gone       Gone // nil: something is left of every segment
	Logger     *slog.Logger
	FanBits    int           // runs of 2^FanBits segments are merged into one; default 2
	FileSize   int64         // bytes at which an index file is sealed; default 256 MiB
	CacheBytes int64         // bound on decoded blocks, flattened heads and headers of runs in memory; where the runs lie takes 4 bytes more for each segment; default 64 MiB
	BigRun     uint64        // entries from which a merge runs on the lane for big ones; default 1 Mi
	RetryAfter time.Duration // after a failed merge; default 2 s
	Reclaim    time.Duration // how often space of what is gone is taken back; default 10 min, negative: never
}

// Index is the point-in-time index of one node over all groups. All methods may
// be called concurrently.
type Index struct {
	o   Options
	dir string

	mu     sync.Mutex
	files  map[uint64]*file
	number uint64
	runs   table
	series map[Series]*state
	gen    uint64 // rises with every run learnt or dropped
	idle   *sync.Cond
	busy   int
	merges uint64
	failed error

	blocks *cache.Cache[blockKey, *block]
	heads  *cache.Cache[headKey, []flat]

	headers *cache.Cache[spot, *run]

	wake    [lanes]chan struct{}
	ctx     context.Context
	cancel  context.CancelFunc
	stopped sync.WaitGroup
}

type runKey struct {
	Series
	start, count uint64
}

type headKey struct {
	Series
	ordinal uint64
}

// state is what is known about one series.
type state struct {
	count uint64            // ordinals below it are committed
	next  map[uint64]uint64 // by size of run: where the next one begins
	busy  map[uint64]bool   // by size: a lane is at work on it
	retry map[uint64]time.Time
}

// The lanes: a merge of millions of entries must not hold up the small ones.
const (
	laneSmall = iota
	laneBig
	lanes
)

// Open opens the index in dir, creating it if there is none. Merged runs are
// taken over as they are; a file that is no index file is removed, since all of
// it can be built again.
func Open(dir string, o Options) (*Index, error) {
	if o.FanBits == 0 {
		o.FanBits = 2
	}
	if o.FileSize == 0 {
		o.FileSize = 256 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 64 << 20
	}
	if o.BigRun == 0 {
		o.BigRun = 1 << 20
	}
	if o.RetryAfter == 0 {
		o.RetryAfter = 2 * time.Second
	}
	if o.Reclaim == 0 {
		o.Reclaim = 10 * time.Minute
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	x := &Index{o: o, dir: dir, files: map[uint64]*file{}, runs: newTable(o.FanBits), series: map[Series]*state{},
		blocks: cache.New[blockKey, *block](o.CacheBytes * 5 / 8), heads: cache.New[headKey, []flat](o.CacheBytes / 4), headers: cache.New[spot, *run](o.CacheBytes / 8)}
	x.idle = sync.NewCond(&x.mu)
	x.ctx, x.cancel = context.WithCancel(context.Background())
	fail := func(err error) (*Index, error) {
		x.closeFiles()
		return nil, &redoubt.Error{Op: "open index", Object: dir, Err: err}
	}
	if err := vfs.MakeDir(o.FS, dir, 2); err != nil { // and the folder of the node's data around it
		return fail(err)
	}
	numbers, err := runFiles.List(o.FS, dir)
	if err != nil {
		return fail(err)
	}
	if err := x.loadAll(numbers); err != nil {
		return fail(err)
	}
	for i := range x.wake {
		x.wake[i] = make(chan struct{}, 1)
		x.stopped.Add(1)
		go x.merger(i)
	}
	if o.Gone != nil && o.Reclaim > 0 {
		x.stopped.Add(1)
		go x.reclaimer()
	}
	return x, nil
}

// openAtOnce is how many files are opened at the same time.
const openAtOnce = 8

// loadAll opens the files, some at once, and enters their runs: of two of a
// place the one in the later file counts.
func (x *Index) loadAll(numbers []uint64) error {
	all := make([]listed, len(numbers))
	var g errgroup.Group
	g.SetLimit(openAtOnce)
	for i, n := range numbers {
		g.Go(func() error { return x.load(n, &all[i]) })
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i := range all {
		for j, s := range all[i].series {
			x.runs.reserve(s, all[i].rows[j])
		}
	}
	for i, n := range numbers {
		levels := make([]*[][]spot, len(all[i].series))
		for j, s := range all[i].series {
			levels[j] = x.runs.levels(s)
		}
		for _, e := range all[i].runs {
			x.runs.setIn(levels[e.series], e.start, e.count, e.spot)
		}
		x.number = n
	}
	return nil
}

// listed are the runs of one file.
type listed struct {
	series []Series
	rows   [][]uint64     // of each series, by the exponent of the runs' size: one more than the last number
	number map[Series]int // of a series in it
	last   int
	runs   []listedRun
}

type listedRun struct {
	start, count uint64
	series       uint32
	spot
}

// begin forgets everything; n runs are expected. They are listed without any
// growth: memory that is new to the program is what listing costs most.
func (l *listed) begin(n int) { *l = listed{runs: make([]listedRun, 0, n)} }

func (l *listed) add(r *run) {
	at, ok := l.last, l.last < len(l.series) && l.series[l.last] == r.Series
	if !ok {
		at, ok = l.number[r.Series]
	}
	if !ok {
		if l.number == nil {
			l.number = map[Series]int{}
		}
		at = len(l.series)
		l.number[r.Series], l.series, l.rows = at, append(l.series, r.Series), append(l.rows, make([]uint64, 64))
	}
	l.last = at
	l.runs = append(l.runs, listedRun{r.start, r.count, uint32(at), r.spot()})
	exp := bits.TrailingZeros64(r.count)
	l.rows[at][exp] = max(l.rows[at][exp], r.start>>exp+1)
}

// load opens a file and returns its runs.
func (x *Index) load(n uint64, out *listed) error {
	name := runFiles.Name(x.dir, n)
	f, err := x.o.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	sealed, err := x.list(f, n, out.begin, func(r *run) {
		if r.fits() && r.file == n {
			out.add(r)
		}
	})
	if errors.Is(err, redoubt.ErrCorrupt) || err == nil && len(out.runs) == 0 {
		x.o.Logger.Warn("index file holds no run; its runs are built again", "file", name, "sealed", sealed, "err", err)
		return errors.Join(f.Close(), x.o.FS.Remove(name))
	}
	if err != nil {
		f.Close()
		return err
	}
	h := &file{File: f, sealed: true}
	for _, r := range out.runs {
		h.weight += r.weight()
	}
	x.mu.Lock()
	x.files[n] = h
	x.mu.Unlock()
	return nil
}

// list calls fn for the runs of a file, and seals it if that was not done. fn
// must not keep the run. It calls begin with their number before, more than once
// if what was told so far is worth nothing.
func (x *Index) list(f vfs.File, n uint64, begin func(int), fn func(*run)) (sealed bool, err error) {
	if err := checkHeaderOf(f, n); err != nil {
		return false, err
	}
	size, err := f.Size()
	if err != nil {
		return false, err
	}
	if sealed, err := listFooter(f, size, begin, fn); sealed || err != nil {
		return sealed, err
	}
	rs, end, err := scanRuns(f, n, size)
	begin(len(rs))
	if err == nil && len(rs) > 0 {
		err = sealFile(f, end, rs)
	}
	for _, r := range rs {
		fn(r)
	}
	return false, err
}

func (x *Index) newNumber() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.number++
	return x.number
}

func (x *Index) learn(r *run) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.series[r.Series] == nil {
		return // it was forgotten meanwhile
	}
	x.runs.set(runKey{r.Series, r.start, r.count}, r.spot())
	x.gen++
	x.merges++
}

// Add says that the ordinals below count are committed, so that their runs can
// be merged in the background. Lookups do not depend on it.
func (x *Index) Add(s Series, count uint64) {
	x.mu.Lock()
	st := x.series[s]
	if st == nil {
		st = &state{next: map[uint64]uint64{}, busy: map[uint64]bool{}, retry: map[uint64]time.Time{}}
		x.series[s] = st
	}
	old := st.count
	st.count = max(st.count, count)
	fan := uint64(1) << x.o.FanBits
	due := st.count/fan > old/fan
	x.mu.Unlock()
	if due {
		x.poke()
	}
}

// Forget drops the series that match accepts, with their merged runs: their
// segments are gone. What index files hold of them goes with the files.
func (x *Index) Forget(match func(Series) bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for s := range x.series {
		if match(s) {
			delete(x.series, s)
		}
	}
	if x.runs.forget(match) {
		x.gen++
	}
}

// Count returns how many segments of s were added.
func (x *Index) Count(s Series) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if st := x.series[s]; st != nil {
		return st.count
	}
	return 0
}

func (x *Index) poke() {
	for _, c := range x.wake {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// Stats are figures about an Index.
type Stats struct {
	Files   int
	Runs    int
	Entries uint64 // in all merged runs
	Bytes   uint64 // of the files
	Merges  uint64 // since it was opened
	Pending int    // merges that are due
	Cache   cache.Stats
}

// Stats returns the present figures.
func (x *Index) Stats() Stats {
	x.mu.Lock()
	defer x.mu.Unlock()
	st := Stats{Files: len(x.files), Runs: x.runs.runs, Entries: x.runs.entries, Merges: x.merges, Cache: x.blocks.Stats()}
	for _, f := range x.files {
		if n, err := f.Size(); err == nil {
			st.Bytes += uint64(n)
		}
	}
	for _, s := range x.series {
		for size := uint64(1) << x.o.FanBits; size <= s.count; size <<= x.o.FanBits {
			st.Pending += int((s.count - s.next[size]) / size) // at most: what is gone needs none
		}
	}
	return st
}

// Close stops the merges and closes the files.
func (x *Index) Close() error {
	x.cancel()
	x.mu.Lock()
	x.idle.Broadcast()
	x.mu.Unlock()
	x.stopped.Wait()
	return x.closeFiles()
}

func (x *Index) closeFiles() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	var first error
	for n, f := range x.files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
		delete(x.files, n)
	}
	return first
}
