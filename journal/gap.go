package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// gapFact is what the facts say of a gap.
type gapFact struct {
	Cursor string      `json:"cursor"` // whose consumer lacks something
	From   redoubt.LSN `json:"from"`   // acknowledged when the gap began
	UpTo   redoubt.LSN `json:"up_to"`  // the last record given up
	Since  int64       `json:"since"`  // time of the first record given up
	Until  int64       `json:"until"`  // time of the last one
	Serial uint64      `json:"serial"` // counts the calls of GiveUp
	Number uint32      `json:"number"` // of the dirty map's file
	Len    int64       `json:"len"`    // bytes of it that count
}

// Gap is what a journal has given up. It is a snapshot.
type Gap struct {
	From, UpTo   redoubt.LSN // records in (From, UpTo] may be missing at the consumer
	Since, Until int64       // times of the first and the last record given up, Unix nanoseconds
	Serial       uint64      // rises with every GiveUp
	Dirty        uint64      // bytes to catch up, in whole blocks
	Lost         error       // why the dirty map cannot be read: see DirtyAll
	Marker       redoubt.LSN // the record that ends it, see Mark; 0 if there is none
}

// Ends reports whether the record l ends the gap: nothing is left to be announced
// before it.
func (g *Gap) Ends(l redoubt.LSN) bool {
	return l != 0 && l == g.Marker && l > g.UpTo && g.Dirty == 0 && g.Lost == nil
}

// gapKeeper holds the gap, if there is one.
type gapKeeper struct {
	work sync.Mutex // one change at a time; taken before factsMu

	mu    sync.Mutex // guards what follows; held for moments
	fact  *gapFact   // nil: there is no gap; never changed in place
	dirty blockMap   // what no record of the journal announces
	taken blockMap   // announced, while the file does not know it
	mark  redoubt.LSN
	lost  error

	file *dirtyFile // guarded by work; nil or unusable: the next change makes a new one
	next uint32     // number of the next file; guarded by work
}

// Gap returns what was given up and is not caught up; ok is false if there is nothing.
func (j *Journal) Gap() (g Gap, ok bool) {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	f := j.gap.fact
	if f == nil {
		return g, false
	}
	return Gap{From: f.From, UpTo: f.UpTo, Since: f.Since, Until: f.Until, Serial: f.Serial, Dirty: j.gap.dirty.count() * DirtyBlock, Lost: j.gap.lost, Marker: j.gap.mark}, true
}

// GivenUp returns the last LSN that was given up, 0 if there is no gap.
func (j *Journal) GivenUp() redoubt.LSN {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	if j.gap.fact == nil {
		return 0
	}
	return j.gap.fact.UpTo
}

// GiveUp says that the consumer shall not get the records up to upTo as they
// are: what they changed goes into the dirty map, and the journal may trim
// them once they are applied, whatever other cursors say. It is durable on
// return; after a crash the map holds at least what the consumer lacks. What
// was given up before stays given up.
func (c *Cursor) GiveUp(upTo redoubt.LSN) error {
	const op = "give up records"
	j := c.j
	k := &j.gap
	k.work.Lock()
	defer k.work.Unlock()
	if err := j.confirm(op, upTo); err != nil {
		return err
	}
	after, f := c.Acked(), gapFact{Cursor: c.name, From: c.Acked()}
	if k.fact != nil {
		f, after = *k.fact, max(after, k.fact.UpTo)
	}
	if upTo <= after {
		return nil
	}
	add, since, until, err := j.changedBy(after, upTo)
	if err != nil {
		return err
	}
	if k.fact == nil {
		f.Since = since
	}
	f.UpTo, f.Until = upTo, until
	f.Serial++
	k.mu.Lock()
	fresh := add.without(k.dirty)
	k.mu.Unlock()
	if err := j.saveGap(op, &f, changeAdd, fresh); err != nil {
		return err
	}
	k.mu.Lock()
	if k.dirty == nil {
		k.dirty, k.taken = blockMap{}, blockMap{}
	}
	k.dirty.or(fresh)
	k.taken = k.taken.without(fresh)
	k.fact, k.mark = &f, 0
	k.mu.Unlock()
	j.mu.Lock()
	j.released = upTo
	j.mu.Unlock()
	j.wake()
	return nil
}

// saveGap appends a change to the dirty map, or writes the map anew with it,
// and makes the facts say so. It is called with gap.work held.
func (j *Journal) saveGap(op string, f *gapFact, kind uint8, change blockMap) error {
	k := &j.gap
	k.mu.Lock()
	rewrite := k.file == nil || k.file.large(k.dirty, j.o.slack)
	k.mu.Unlock()
	old := k.file
	if rewrite {
		// What is taken may be announced by a record that is not durable yet.
		k.mu.Lock()
		all := k.dirty.clone()
		all.or(k.taken)
		k.mu.Unlock()
		if kind == changeAdd {
			all.or(change)
		} else {
			all = all.without(change)
		}
		x, err := newDirtyFile(j.fs, j.dir, j.id, k.next, all)
		k.next++
		if err != nil {
			return &redoubt.Error{Op: op, Object: j.dir, Err: err, Hint: "the dirty map cannot be written: look at the journal's file system"}
		}
		k.file = x
	} else if err := k.file.add(kind, change); err != nil {
		// Its state is unknown: the next change begins a new file.
		err = errors.Join(err, k.file.file.Close())
		k.file = nil
		return &redoubt.Error{Op: op, Object: j.dir, Err: err, Hint: "the dirty map cannot be written: look at the journal's file system"}
	}
	f.Number, f.Len = k.file.number, k.file.end
	if err := j.updateFacts(op, func(fs *facts) error { fs.Gap = f; return nil }); err != nil {
		return err
	}
	if rewrite && old != nil {
		if err := old.remove(); err != nil {
			j.log.Warn("an old dirty map stays", "dir", j.dir, "err", err)
		}
	}
	return nil
}

// changedBy returns what the records in (after, upTo] change or announce, and
// the times of the first and the last of them. It reads heads only.
func (j *Journal) changedBy(after, upTo redoubt.LSN) (m blockMap, since, until int64, err error) {
	m = blockMap{}
	err = j.heads(after, func(w *redoubt.Write) bool {
		if w.LSN > upTo {
			return false
		}
		if since == 0 {
			since = w.Time
		}
		until = w.Time
		if w.Kind == redoubt.KindWrite || w.Kind.Zeroes() || w.Kind == redoubt.KindCopy {
			m.add(w.Disk, w.Extent)
		}
		return true
	})
	return m, since, until, err
}

// Mark says that the record l ends the gap, unless something was given up since
// it had that serial, or is still dirty.
func (j *Journal) Mark(l redoubt.LSN, serial uint64) {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	if f := j.gap.fact; f != nil && f.Serial == serial && j.gap.dirty.count() == 0 {
		j.gap.mark = l
	}
}

// Announced takes e out of the dirty map: the caller appends a record that
// announces it next, or calls Unannounced. It is saved by SaveGap; a crash
// before announces it again.
func (j *Journal) Announced(d redoubt.DiskID, e redoubt.Extent) {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	if j.gap.fact != nil {
		j.gap.dirty.remove(d, e)
		j.gap.taken.add(d, e)
	}
}

// Unannounced takes an Announced back.
func (j *Journal) Unannounced(d redoubt.DiskID, e redoubt.Extent) {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	if j.gap.fact != nil {
		j.gap.dirty.add(d, e)
		j.gap.taken.remove(d, e)
	}
}

// SaveGap makes durable what Announced has taken out, after the records that
// announce it.
func (j *Journal) SaveGap() error {
	k := &j.gap
	k.work.Lock()
	defer k.work.Unlock()
	k.mu.Lock()
	if k.fact == nil || k.taken.count() == 0 {
		k.mu.Unlock()
		return nil
	}
	f, taken := *k.fact, k.taken.clone()
	k.mu.Unlock()
	if err := j.Sync(context.Background(), j.Head().LSN); err != nil {
		return err
	}
	if err := j.saveGap("save dirty map", &f, changeRemove, taken); err != nil {
		return err
	}
	k.mu.Lock()
	k.fact, k.taken = &f, k.taken.without(taken)
	k.mu.Unlock()
	return nil
}

// CloseGap says that the consumer has everything again. It changes nothing, and
// returns false, if something was given up since the gap had that serial.
func (j *Journal) CloseGap(serial uint64) (bool, error) {
	j.gap.work.Lock()
	defer j.gap.work.Unlock()
	if f := j.gap.fact; f == nil || f.Serial != serial {
		return false, nil
	}
	if err := j.updateFacts("close gap", func(f *facts) error { f.Gap = nil; return nil }); err != nil {
		return false, err
	}
	j.forgetGap()
	return true, nil
}

// forgetGap drops the gap of which the facts say nothing any more. It is called
// with gap.work held.
func (j *Journal) forgetGap() {
	k := &j.gap
	k.mu.Lock()
	k.fact, k.dirty, k.taken, k.lost, k.mark = nil, nil, nil, nil, 0
	k.mu.Unlock()
	j.mu.Lock()
	j.released = 0
	j.mu.Unlock()
	if k.file != nil {
		if err := k.file.remove(); err != nil {
			j.log.Warn("an old dirty map stays", "dir", j.dir, "err", err)
		}
		k.file = nil
	}
}

// NextDirty returns the first run of dirty blocks of d at or after the byte
// from: at most `most` bytes, and not across a multiple of it. It may reach
// over the end of the disk, of whose size the journal knows nothing.
func (j *Journal) NextDirty(d redoubt.DiskID, from, most uint64) (redoubt.Extent, bool) {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	return j.gap.dirty.next(d, from, most)
}

// DirtyCovers reports whether all of e is in the dirty map: it will be announced.
func (j *Journal) DirtyCovers(d redoubt.DiskID, e redoubt.Extent) bool {
	j.gap.mu.Lock()
	defer j.gap.mu.Unlock()
	return j.gap.dirty.covers(d, e)
}

// DirtyAll makes all blocks of the disks dirty, durably: for a map that cannot
// be read any more (Gap.Lost).
func (j *Journal) DirtyAll(disks []redoubt.Disk) error {
	k := &j.gap
	k.work.Lock()
	defer k.work.Unlock()
	k.mu.Lock()
	if k.fact == nil {
		k.mu.Unlock()
		return nil
	}
	f := *k.fact
	k.mu.Unlock()
	all := blockMap{}
	for _, d := range disks {
		all.add(d.ID, redoubt.Extent{Len: d.Size})
	}
	f.Serial++
	if err := j.saveGap("mark all blocks dirty", &f, changeAdd, all); err != nil {
		return err
	}
	k.mu.Lock()
	k.dirty, k.taken, k.fact, k.lost = all, blockMap{}, &f, nil
	k.mu.Unlock()
	return nil
}

// Owed returns what the consumer may lack or hold otherwise: what was given up,
// and what records after LSN after, as far as they are still there, change or
// announce. Extents are sorted and merged.
func (j *Journal) Owed(after redoubt.LSN) (map[redoubt.DiskID][]redoubt.Extent, error) {
	d := dirtyMap{}
	j.gap.mu.Lock()
	gap := j.gap.fact != nil
	for _, m := range []blockMap{j.gap.dirty, j.gap.taken} {
		for id := range m {
			for e, ok := m.next(id, 0, 1<<30); ok; e, ok = m.next(id, e.End(), 1<<30) {
				d.add(id, e)
			}
		}
	}
	lost := j.gap.lost
	j.gap.mu.Unlock()
	if lost != nil {
		return nil, lost
	}
	err := j.heads(max(after, j.Tail()-1), func(w *redoubt.Write) bool {
		if w.Kind == redoubt.KindWrite || w.Kind.Zeroes() || gap && w.Kind == redoubt.KindCopy {
			d.add(w.Disk, w.Extent)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return d.result(), nil
}

// openGap reads the gap that the facts tell of, and removes files of others. A
// map that cannot be read is lost: the gap says so, and everything is dirty.
func (j *Journal) openGap() error {
	f := j.facts.Gap
	entries, err := j.fs.ReadDir(j.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		n, ok := isDirtyName(e.Name())
		if !ok {
			continue
		}
		j.gap.next = max(j.gap.next, n+1)
		if (f == nil || n != f.Number) && !j.o.readOnly {
			if err := j.fs.Remove(dirtyName(j.dir, n)); err != nil {
				return err
			}
		}
	}
	if f == nil {
		return nil
	}
	j.gap.next = max(j.gap.next, f.Number+1)
	x, m, err := openDirtyFile(j.fs, j.dir, j.id, f.Number, f.Len, os.O_RDWR)
	switch {
	case err == nil:
		j.gap.file = x
	case errors.Is(err, redoubt.ErrCorrupt) || isMissing(err):
		j.log.Error("the dirty map is damaged: all blocks will be shipped again", "dir", j.dir, "err", err)
		m, j.gap.lost = blockMap{}, fmt.Errorf("%w: %w", redoubt.ErrCorrupt, err)
	default:
		return err
	}
	j.gap.fact, j.gap.dirty, j.gap.taken = f, m, blockMap{}
	return nil
}
