package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// checkpointEvery is the time between two saves of the index.
const checkpointEvery = time.Second

// noSpacePause is the least time between two attempts to make a file on a full
// disk: each fills what room there is before it fails.
const noSpacePause = time.Second

// keep is the keeper: the one goroutine that prepares, seals and recycles
// segments and saves the index, behind the writer's back.
func (j *Journal) keep() {
	defer close(j.done)
	tick := time.NewTicker(checkpointEvery)
	defer tick.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-j.kick:
		case <-tick.C:
			j.checkpoint()
		}
		for j.Err() == nil && j.tend() {
			select {
			case <-j.stop:
				return
			default:
			}
		}
	}
}

// tend does one piece of work and reports whether there was one.
func (j *Journal) tend() bool {
	if j.o.readOnly {
		return false
	}
	return j.prepareOne() || j.sealOne() || j.trim()
}

// segmentSize is the size of all segment files.
func (j *Journal) segmentSize() int64 { return j.o.SegmentSize }

// maxFiles is the most segment files.
func (j *Journal) maxFiles() int { return int(max(2, j.o.MaxBytes/j.o.SegmentSize)) }

// takeSpares returns, in wr.fresh, n segments that are ready to be written. It
// waits for the keeper when room can be had, and returns ErrJournalFull when
// not. It is called with appendMu held.
func (j *Journal) takeSpares(op string, n int) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if time.Since(j.noSpaceAt) >= noSpacePause {
		j.noSpace = nil // the disk may have room again
	}
	j.want = n
	defer func() {
		j.want = 0
		j.wake()
	}()
	synced := false
	for {
		can := len(j.spare) + len(j.free) + j.preparing + j.trimmable() + j.maxFiles() - j.files
		switch {
		case j.failure.Load() != nil:
			return j.failure.Load()
		case j.closed:
			return &redoubt.Error{Op: op, Object: j.dir, Err: redoubt.ErrClosed}
		case len(j.spare) >= n:
			j.wr.fresh = append(j.wr.fresh[:0], j.spare[:n]...)
			j.spare = append(j.spare[:0], j.spare[n:]...)
			j.taken = n
			for _, s := range j.wr.fresh {
				s.w = extent{end: pageSize, marks: make([]mark, 0, maxMarks)}
			}
			return nil
		case j.noSpace != nil:
			return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("%w: %w", redoubt.ErrJournalFull, j.noSpace),
				Hint: "the journal's file system is full"}
		case can < n && j.Durable() < j.head && !synced:
			synced = true // what is not durable holds back the segment before it
			j.mu.Unlock()
			err := j.syncAll()
			j.mu.Lock()
			if err != nil {
				return err
			}
			continue
		case can < n:
			return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("%d segments of %d bytes hold records from %d on: %w", len(j.chain), j.o.SegmentSize, j.tail, redoubt.ErrJournalFull),
				Hint: "it empties when the writes are applied and safe at every consumer; look at the cursors"}
		}
		j.wake()
		j.cond.Wait()
	}
}

// prepareOne makes one segment ready if one is wanted: a recycled file gets a
// header with a fresh seq, a new file is written with zeros before. Not the
// first one of a journal: somebody waits for it, or will at once. And a new file
// is made ahead only when it will be wanted, because its zeros hold up all syncs.
func (j *Journal) prepareOne() bool {
	j.mu.Lock()
	ahead := 1
	if j.o.noSpare {
		ahead = 0
	}
	if len(j.spare) >= max(ahead, j.want) || j.noSpace != nil {
		j.mu.Unlock()
		return false
	}
	var s *segment
	for i, f := range j.free {
		if f.pins == 0 {
			s = f
			j.free = append(j.free[:i], j.free[i+1:]...)
			break
		}
	}
	fresh := s == nil
	if fresh && (j.files >= j.maxFiles() || len(j.spare) >= j.want && !j.filling()) {
		j.mu.Unlock()
		return false
	}
	var zeros []byte
	if fresh && len(j.chain)+j.taken > 0 {
		zeros = make([]byte, zeroPiece(j.segmentSize()))
	}
	if fresh {
		s = &segment{slot: j.slots, size: j.segmentSize()}
		j.slots++
		j.files++
	}
	seq := j.nextSeq
	j.nextSeq++
	j.preparing++
	j.mu.Unlock()

	err := j.prepare(s, seq, zeros)
	j.mu.Lock()
	j.preparing--
	ready := &segment{file: s.file, slot: s.slot, size: s.size, seq: seq}
	switch {
	case err == nil && seq >= j.minSeq:
		j.spare = append(j.spare, ready)
	case s.file != nil: // failed, or forgotten by a reset meanwhile
		j.free = append(j.free, ready)
	default:
		j.files--
	}
	full := err != nil && s.file == nil && vfs.IsNoSpace(err)
	switch {
	case full:
		if j.noSpaceAt.IsZero() {
			j.log.Warn("no room for another journal segment", "dir", j.dir, "err", err)
		}
		j.noSpace, j.noSpaceAt = err, time.Now()
	case err == nil:
		j.noSpaceAt = time.Time{}
	}
	j.cond.Broadcast()
	j.mu.Unlock()
	if err != nil && !full {
		_ = j.fail("prepare segment", segmentName(j.dir, s.slot), err)
	}
	return err == nil
}

// filling reports whether another file will be wanted: the open segment has
// begun to fill, or there is none. It is called with mu held.
func (j *Journal) filling() bool {
	if j.taken > 0 {
		return false // publish looks again
	}
	n := len(j.chain)
	return n == 0 || j.chain[n-1].p.end >= j.segmentSize()/fillingAt
}

// fillingAt is the part of a segment, one in so many, that is full when the
// next file is made.
const fillingAt = 8

func (j *Journal) prepare(s *segment, seq uint64, zeros []byte) error {
	if s.file == nil {
		f, err := createSegmentFile(j.fs, j.dir, s.slot, s.size, zeros)
		if err != nil {
			return err
		}
		s.file = f
	}
	return writeHeader(s.file, j.id, seq, s.size)
}

// writeHeader begins a new use of a segment file, durably.
func writeHeader(f vfs.File, id journalID, seq uint64, size int64) error {
	page := make([]byte, pageSize)
	encodeHeader(page, id, seq, size)
	if err := writeFull(f, page, 0); err != nil {
		return err
	}
	return f.Sync()
}

// sealOne syncs one full segment and writes its footer.
func (j *Journal) sealOne() bool {
	j.mu.Lock()
	var s *segment
	for _, c := range j.chain {
		if c.rolled && !c.sealed {
			s = c
			break
		}
	}
	if s == nil {
		j.mu.Unlock()
		return false
	}
	s.pins++
	p := s.p
	j.mu.Unlock()
	err := j.Sync(context.Background(), p.last)
	if err == nil {
		if err = writeFooter(s, &p, j.id); err != nil {
			err = j.fail("seal segment", s.file.Name(), err)
		}
	}
	j.mu.Lock()
	s.sealed = err == nil
	j.unpin(s)
	j.cond.Broadcast() // it may be trimmed now
	j.mu.Unlock()
	return err == nil
}

func writeFooter(s *segment, p *extent, id journalID) error {
	page := make([]byte, pageSize)
	p.encode(page, id, s.seq)
	if err := writeFull(s.file, page, s.limit()); err != nil {
		return err
	}
	return s.file.Sync()
}

// trimPoint is the last LSN that nobody needs. It is called with mu held.
func (j *Journal) trimPoint() redoubt.LSN {
	l := j.applied
	for _, c := range j.cursors {
		l = min(l, max(c.acked, j.released))
	}
	return l
}

// trimmable counts the segments at the front that can be recycled, at once or
// as soon as they are sealed. A durable record always stays behind them: it
// tells the head after a power cut. It is called with mu held.
func (j *Journal) trimmable() int {
	point, n := j.trimPoint(), 0
	for n < len(j.chain)-1 && j.chain[n].rolled && j.chain[n].p.last <= point && j.chain[n].p.last < j.Durable() {
		n++
	}
	return n
}

// trim recycles what nobody needs. That the records are gone is durable before
// a file is used again, so a gap at the front is told from damage.
func (j *Journal) trim() bool {
	j.mu.Lock()
	n := j.trimReady()
	j.mu.Unlock()
	if n == 0 {
		return false
	}
	var resets uint64
	var tail redoubt.LSN
	err := j.updateFacts("trim journal", func(f *facts) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if n = j.trimReady(); n > 0 { // a new cursor may hold it back now
			resets, tail = j.resets, j.chain[n-1].p.last+1
			f.Tail = max(f.Tail, tail)
		}
		return nil
	})
	if err != nil {
		j.log.Warn("trim journal", "dir", j.dir, "err", err)
		return false
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if n == 0 || resets != j.resets {
		return true
	}
	for _, s := range j.chain[:n] {
		s.live = false
		j.free = append(j.free, s)
	}
	j.chain = append(j.chain[:0], j.chain[n:]...)
	j.tail = tail
	j.noSpace = nil
	j.cond.Broadcast()
	return true
}

// trimReady counts the trimmable segments at the front that are sealed. It is
// called with mu held.
func (j *Journal) trimReady() int {
	n := j.trimmable()
	for i := range n {
		if !j.chain[i].sealed {
			return i
		}
	}
	return n
}

// updateFacts changes the facts durably: all of fn's changes or none. The
// present progress (watermark, applied, cursors) goes with it. When the disk
// is full nothing has changed and the journal stays usable.
func (j *Journal) updateFacts(op string, fn func(*facts) error) error {
	j.factsMu.Lock()
	defer j.factsMu.Unlock()
	if err := j.Err(); err != nil {
		return err
	}
	if j.ff == nil {
		return &redoubt.Error{Op: op, Object: j.dir, Err: redoubt.ErrReadOnly}
	}
	f := j.facts.clone()
	j.mu.Lock()
	f.Watermark, f.Applied = max(f.Watermark, j.Durable()), j.applied
	for name, c := range j.cursors {
		if cf, ok := f.Cursors[name]; ok && cf.Serial == c.serial {
			f.Cursors[name] = cursorFact{c.serial, c.acked}
		}
	}
	j.mu.Unlock()
	f.Clean = false
	if err := fn(&f); err != nil {
		return err
	}
	f.Serial++
	b, err := f.encode()
	if err == nil {
		err = j.ff.reserve(int64(len(b)))
		if err != nil && !vfs.IsNoSpace(err) {
			return j.fail(op, j.dir, err)
		}
	}
	if err != nil {
		return &redoubt.Error{Op: op, Object: j.dir, Err: err}
	}
	if err := j.ff.write(b); err != nil {
		return j.fail(op, j.dir, err)
	}
	j.facts = &f
	return nil
}

// isMissing reports whether a file is not there.
func isMissing(err error) bool { return errors.Is(err, fs.ErrNotExist) }
