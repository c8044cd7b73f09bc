package journal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Open opens the journal in the folder dir, or makes it if o.Create is set. It
// holds the folder's lock until Close (redoubt.ErrState if another has it). It
// cuts off a torn tail, makes all that is left durable, and refuses with
// redoubt.ErrCorrupt when something that had been durable cannot be read.
func Open(dir string, o Options) (*Journal, error) {
	o, err := o.withDefaults(dir)
	if err != nil {
		return nil, err
	}
	j, err := open(dir, o)
	if err != nil {
		var e *redoubt.Error
		if errors.As(err, &e) && e.Op == "open journal" {
			return nil, err
		}
		hint := ""
		if errors.Is(err, redoubt.ErrCorrupt) {
			hint = "keep the folder as it is, run 'redoubt journal verify' on it and look at the disk"
		}
		return nil, &redoubt.Error{Op: "open journal", Object: dir, Err: err, Hint: hint}
	}
	return j, nil
}

func open(dir string, o Options) (_ *Journal, err error) {
	j := &Journal{o: o, dir: dir, fs: o.FS, now: o.Now, log: o.Logger,
		kick: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	j.cond.L = &j.mu
	j.wr.page = make([]byte, pageSize)
	defer func() {
		if err != nil {
			err = errors.Join(err, j.release())
		}
	}()
	if o.Create {
		if err := vfs.MakeDir(j.fs, dir, 1); err != nil {
			return nil, err
		}
	}
	if _, err := j.fs.Stat(dir); isMissing(err) {
		return nil, &redoubt.Error{Op: "open journal", Object: dir, Err: redoubt.ErrNotFound}
	}
	if l, ok := j.fs.(vfs.Locker); ok {
		if j.lock, err = l.Lock(filepath.Join(dir, "lock")); err != nil {
			return nil, err
		}
	}
	if j.facts, j.goodFacts, err = loadFacts(j.fs, dir); isMissing(err) {
		j.facts, err = j.create()
		j.late = err == nil && !o.readOnly
	}
	if err != nil {
		return nil, err
	}
	if j.id, err = j.facts.id(); err != nil {
		return nil, err
	}
	j.o.SegmentSize = j.facts.SegmentSize
	var saved *checkpoint
	if !j.late {
		j.index, saved, j.indexErr = j.openIndex()
	}
	if saved != nil && (saved.ID != j.idString() || saved.Resets != j.facts.Resets) {
		saved = nil
	}
	r := &recovery{fs: j.fs, dir: dir, id: j.id, facts: j.facts, index: saved}
	if err := r.run(); err != nil {
		r.close()
		return nil, err
	}
	j.adopt(r)
	if err := r.closeJunk(); err != nil {
		return nil, err
	}
	if err := j.begin(r); err != nil {
		return nil, err
	}
	if err := j.openGap(); err != nil {
		return nil, err
	}
	if o.Preallocate {
		if err := j.preallocate(); err != nil {
			return nil, err
		}
	}
	go j.keep()
	j.wake()
	return j, nil
}

// create makes a new journal's facts, if that is wanted and nothing is there
// that says that there was one.
func (j *Journal) create() (*facts, error) {
	entries, err := j.fs.ReadDir(j.dir)
	if err != nil && !isMissing(err) {
		return nil, err
	}
	for _, d := range entries {
		if _, ok := segmentSlot(d.Name()); ok {
			return nil, fmt.Errorf("there are segment files but no facts: %w", redoubt.ErrCorrupt)
		}
	}
	if !j.o.Create {
		return nil, &redoubt.Error{Op: "open journal", Object: j.dir, Err: redoubt.ErrNotFound}
	}
	var id journalID
	if _, err := rand.Read(id[:]); err != nil {
		return nil, err
	}
	p := j.o.Start
	f := &facts{Serial: 1, ID: hex.EncodeToString(id[:]), SegmentSize: j.o.SegmentSize, Base: p, MinSeq: 1, Epoch: p.Epoch,
		Watermark: p.LSN, Tail: p.LSN + 1, Applied: p.LSN, Cursors: map[string]cursorFact{}, State: map[string][]byte{}}
	return f, createFacts(j.fs, j.dir, f)
}

// ID returns the journal's name: random, made with it, and never changed.
func (j *Journal) ID() string { return j.idString() }

func (j *Journal) idString() string { return hex.EncodeToString(j.id[:]) }

// openIndex opens the index and returns its state, which may be of another
// journal. An index that fails, or that is not wanted, is done without.
func (j *Journal) openIndex() (ix index, saved *checkpoint, err error) {
	switch {
	case j.o.index != nil:
		ix, err = j.o.index()
	case j.o.IndexDir != "":
		ix, err = openBadger(j.o.IndexDir, j.log)
	default:
		return nil, nil, nil
	}
	if err != nil {
		j.log.Warn("journal opens without its index", "dir", j.dir, "err", err)
		return nil, nil, err
	}
	c, err := ix.load()
	if err != nil {
		j.log.Warn("journal index is made anew", "dir", j.dir, "err", err)
		return ix, nil, nil
	}
	return ix, c, nil
}

// adopt takes over what the recovery found.
func (j *Journal) adopt(r *recovery) {
	f := j.facts
	j.chain, j.free = r.chain, append(r.free, r.stale...)
	j.files, j.slots = len(j.chain)+len(j.free), r.slots
	j.nextSeq, j.minSeq = max(r.maxSeq+1, f.NextSeq, f.MinSeq), f.MinSeq
	j.resets, j.epoch = f.Resets, f.Epoch
	j.head, j.tail = f.Base.LSN, f.Tail
	for _, s := range j.chain {
		s.live, s.p = true, s.w
	}
	if n := len(j.chain); n > 0 {
		last := j.chain[n-1]
		j.head, j.headTime = last.w.last, last.w.lastTime
		for i := n - 1; i > 0 && j.chain[i].w.records == 0; i-- {
			j.headTime = j.chain[i-1].w.lastTime
		}
		j.epoch = max(j.epoch, last.w.epoch)
		for _, s := range j.chain[:n-1] {
			s.rolled = true
		}
		if !last.rolled {
			j.wr.cur = last
		}
	}
	j.tail = min(j.tail, j.head+1)
	j.wr.head, j.wr.time = j.head, j.headTime
	clamp := func(l redoubt.LSN) redoubt.LSN { return min(max(l, j.tail-1), j.head) }
	j.applied = f.Applied
	if r.index != nil {
		j.applied = max(j.applied, r.index.Applied)
	}
	j.applied = clamp(j.applied)
	if f.Gap != nil { // cursors may be behind the tail
		j.released = min(f.Gap.UpTo, j.head)
	}
	j.cursors = map[string]*cursorState{}
	for name, c := range f.Cursors {
		acked := c.Acked
		if r.index != nil {
			acked = max(acked, r.index.Cursors[c.Serial])
		}
		if f.Gap == nil {
			acked = clamp(acked)
		}
		j.cursors[name] = &cursorState{serial: c.Serial, acked: min(acked, j.head)}
	}
}

// begin makes durable what was recovered, and makes sure that nothing behind
// the head can ever be taken for its continuation, before the first append.
func (j *Journal) begin(r *recovery) error {
	j.wr.incarnation = j.facts.Incarnation
	if j.o.readOnly {
		j.durable.Store(uint64(j.head))
		return nil
	}
	wasClean := j.facts.Clean
	for i, s := range r.chain {
		if !s.sealed {
			if err := rewrite(s, r.heads[i], r.watermark); err != nil {
				return err
			}
			if err := s.file.Sync(); err != nil {
				return err
			}
		}
	}
	for _, s := range r.junk {
		if err := j.fs.Remove(s.file.Name()); err != nil {
			return err
		}
	}
	j.durable.Store(uint64(j.head))
	var err error
	if j.ff, err = openFactsFile(j.fs, j.dir, j.goodFacts); err != nil {
		return err
	}
	if err := j.ff.settle(); err != nil {
		return err
	}
	if err := j.updateFacts("open journal", func(f *facts) error {
		f.Incarnation++
		f.NextSeq = j.nextSeq // seqs whose headers go below are not used again
		f.Epoch = j.epoch
		return nil
	}); err != nil {
		return err
	}
	j.wr.incarnation = j.facts.Incarnation
	// Segments beyond a cut lose their header: their batches are void.
	for _, s := range r.stale {
		if err := wipe(s, 0); err != nil {
			return err
		}
		s.seq = 0
	}
	if c := j.wr.cur; c != nil && c.sealed { // cut inside of a full segment
		if err := wipe(c, c.limit()); err != nil {
			return err
		}
		c.sealed = false
	}
	if c := j.wr.cur; c != nil && !wasClean {
		if c.limit()-c.w.end < pageSize {
			c.rolled, j.wr.cur = true, nil
			return nil
		}
		if err := j.writeBatch(j.epoch, planned{}, nil); err != nil {
			return err
		}
		if err := c.file.Sync(); err != nil {
			return err
		}
		c.p = c.w
	}
	for _, s := range j.chain {
		s.synced = s.p
	}
	return nil
}

// wipe zeroes one page, durably.
func wipe(s *segment, off int64) error {
	if err := writeFull(s.file, zeroPage[:], off); err != nil {
		return err
	}
	return s.file.Sync()
}
