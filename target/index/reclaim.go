package index

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Space comes back in two steps. Runs of which nothing is left, or nobody asks
// any more, are taken out of the table. Then the file with the least that is
// still named is written anew, without the entries of segments that are gone,
// and removed; one at a time, so that this never becomes a burst.

// errMoved: a run was read from a file that is not there any more. The table
// knows its new place.
var errMoved = errors.New("the run lies in another file now")

const (
	reclaimBelow = 50   // percent of a file that is still needed, from which it stays
	reclaimBatch = 4096 // runs that are looked at without letting go of the lock
)

// reclaimer takes space back now and then.
func (x *Index) reclaimer() {
	defer x.stopped.Done()
	l := &lane{x: x}
	tick := time.NewTicker(x.o.Reclaim)
	defer tick.Stop()
	for x.ctx.Err() == nil {
		select {
		case <-x.ctx.Done():
		case <-tick.C:
			if err := x.reclaim(l); err != nil && x.ctx.Err() == nil {
				x.o.Logger.Warn("index space was not taken back; it is tried again", "dir", x.dir, "err", err)
			}
		}
	}
	if err := l.seal(); err != nil {
		x.latch(err)
	}
}

// reclaim lets go of runs of which nothing is left and writes the emptiest file
// anew, if less than half of it is needed.
func (x *Index) reclaim(l *lane) error {
	x.mu.Lock()
	failed := x.failed
	x.mu.Unlock()
	if failed != nil {
		return failed
	}
	n, ok := x.emptiest(x.letGo())
	if !ok {
		return nil
	}
	if err := x.rewrite(l, n); err != nil {
		return err
	}
	return x.remove(n)
}

// letGo takes out of the table what is gone, and returns the weight of the
// runs that are left, by file.
func (x *Index) letGo() map[uint32]uint64 {
	left := map[uint32]uint64{}
	x.eachRun(func(k known) {
		if x.gone(k.Series, k.start, k.start+k.count) {
			x.headers.Remove(k.spot)
			x.runs.set(k.runKey, spot{})
			x.gen++
			return
		}
		left[k.file] += k.weight()
	})
	return left
}

// eachRun calls fn for every run, some with x.mu held in one go. Runs that come
// meanwhile may be left out.
func (x *Index) eachRun(fn func(known)) {
	x.mu.Lock()
	var all []Series
	for s := range x.runs.by {
		all = append(all, s)
	}
	x.mu.Unlock()
	for _, s := range all {
		for level, at := 0, 0; ; {
			x.mu.Lock()
			levels := x.runs.by[s]
			if levels == nil || level >= len(*levels) {
				x.mu.Unlock()
				break
			}
			size := uint64(1) << (level * x.o.FanBits)
			row := (*levels)[level]
			end := min(at+reclaimBatch, len(row))
			for ; at < end; at++ {
				if row[at].file != 0 {
					fn(known{runKey{s, uint64(at) * size, size}, row[at]})
				}
			}
			if at >= len(row) {
				level, at = level+1, 0
			}
			x.mu.Unlock()
		}
	}
}

// emptiest returns the sealed file of which the least is needed, if that is
// less than reclaimBelow percent.
func (x *Index) emptiest(left map[uint32]uint64) (n uint64, ok bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	best := uint64(reclaimBelow)
	for number, f := range x.files {
		if !f.sealed || f.weight == 0 {
			continue
		}
		need := left[uint32(number)]
		if need -= min(need, f.stale); need*100/f.weight < best {
			n, best, ok = number, need*100/f.weight, true
		}
	}
	return n, ok
}

// rewrite copies the runs that file n holds to another one.
func (x *Index) rewrite(l *lane, n uint64) error {
	var runs []known
	x.eachRun(func(k known) {
		if uint64(k.file) == n {
			runs = append(runs, k)
		}
	})
	slices.SortFunc(runs, func(a, b known) int { return cmp.Compare(a.sector, b.sector) })
	for _, k := range runs {
		if err := x.ctx.Err(); err != nil {
			return err
		}
		if err := x.move(l, k); errors.Is(err, redoubt.ErrCorrupt) {
			x.drop(k, err)
		} else if err != nil {
			return err
		}
	}
	if err := l.sync(); err != nil {
		x.latch(err)
		return err
	}
	return nil
}

// move copies what is left of a run to the lane's file.
func (x *Index) move(l *lane, k known) error {
	old, err := x.header(k)
	if err != nil {
		return err
	}
	r := &run{Series: k.Series, start: k.start, count: k.count}
	left, s := x.leftOf(k.Series), x.stream(old)
	err = l.write(r, func() (flat, bool, error) {
		for {
			f, ok, err := s()
			if !ok || err != nil || f.zero || left(f.ordinal) { // zeros of several segments may be one entry
				return f, ok, err
			}
		}
	})
	if err != nil {
		return err
	}
	x.mu.Lock()
	if x.runs.get(k.runKey) == k {
		x.headers.Remove(k.spot)
		x.runs.set(k.runKey, r.spot())
		x.gen++
	}
	x.mu.Unlock()
	if l.end < x.o.FileSize {
		return nil
	}
	if err = l.seal(); err != nil {
		x.latch(err)
	}
	return err
}

// remove takes a file away of which nothing is needed any more. Its runs lie
// durably elsewhere: a crash before leaves two of each, of which those in the
// later file count.
func (x *Index) remove(n uint64) error {
	x.mu.Lock()
	f := x.files[n]
	delete(x.files, n)
	x.mu.Unlock()
	if f == nil {
		return nil
	}
	return errors.Join(x.o.FS.Remove(runFiles.Name(x.dir, n)), f.Close())
}

// noteStale adds what the scrub has found in a run: entries of segments that
// are gone. fresh says that it is the file's first run.
func (x *Index) noteStale(k known, entries uint64, fresh bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	f := x.files[uint64(k.file)]
	if f == nil {
		return
	}
	if fresh {
		f.stale = 0
	}
	f.stale += entryWeight * entries
}
