package journal

import (
	"errors"
	"fmt"
	"os"
	"sort"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// recovery finds out what the segment files hold after a stop of any kind. It
// reads one header and one footer per file, and the batch heads of those few
// segments that have no footer.
type recovery struct {
	fs    vfs.FS
	dir   string
	id    journalID
	facts *facts
	index *checkpoint // nil if there is none that fits

	live      []*segment // have a valid header, in order of seq; not looked at yet
	chain     []*segment // contiguous, oldest first
	heads     [][]headRef
	stale     []*segment  // hold something that is not part of the chain
	free      []*segment  // hold nothing of worth
	junk      []*segment  // files of a wrong size; closed when the recovery is over
	watermark redoubt.LSN // must be there
	maxSeq    uint64
	slots     int
	damage    error // why the scan of the last segment ended, for the report
}

// headRef is what is remembered of a batch of a segment without footer.
type headRef struct {
	off, length int64
	last        redoubt.LSN
}

// scanHeads follows the batches of one segment from e.end on, as long as each
// continues the one before, and adds them to e. It returns why it stopped. A
// head that visit gets is valid during the call only.
func scanHeads(pg *pager, id journalID, s *segment, e *extent, limit int64, visit func(*batchHead)) error {
	for {
		off := e.end
		if off+pageSize > limit {
			return nil
		}
		p, err := pg.page(off)
		if err != nil {
			return err
		}
		h, hid, err := decodeBatch(p)
		if err != nil {
			return fmt.Errorf("%s at %d: %w", s.file.Name(), off, err)
		}
		want := e.last + 1
		if e.more {
			want = e.last
		}
		switch {
		case hid != id || h.seq != s.seq || h.off != off:
			return fmt.Errorf("%s at %d: a batch of another use of the file", s.file.Name(), off)
		case off+h.length > limit:
			return fmt.Errorf("%s at %d: the batch reaches over the end: %w", s.file.Name(), off, redoubt.ErrCorrupt)
		case e.batches > 0 && (h.incarnation < e.incarnation || h.epoch < e.epoch || h.first != want || h.part != e.more):
			return fmt.Errorf("%s at %d: a batch that was cut off earlier", s.file.Name(), off)
		}
		e.add(&h, spacing(s.size))
		if visit != nil {
			visit(&h)
		}
	}
}

// run recovers the chain. Nothing is written.
func (r *recovery) run() error {
	if err := r.open(); err != nil {
		return err
	}
	r.watermark = r.facts.Watermark
	if r.index != nil {
		r.watermark = max(r.watermark, r.index.Watermark)
	}
	for len(r.live) > 0 {
		s := r.live[0]
		heads, err := r.measure(s)
		if err != nil {
			return err
		}
		r.live = r.live[1:]
		switch {
		case s.w.batches == 0:
			r.free = append(r.free, s)
		case s.w.last < r.facts.Tail && s.w.records > 0:
			r.free = append(r.free, s) // trimmed, not yet used again
		case !r.continues(s):
			r.stale = append(r.stale, s)
		default:
			r.chain, r.heads = append(r.chain, s), append(r.heads, heads)
		}
	}
	if !r.facts.Clean {
		if err := r.verifyTail(); err != nil {
			return err
		}
	}
	if err := r.cutOpenRun(); err != nil {
		return err
	}
	if !r.facts.Clean {
		if err := r.sweep(); err != nil {
			return err
		}
	}
	return r.check()
}

// open reads the header of every segment file and finds those in use.
func (r *recovery) open() error {
	entries, err := r.fs.ReadDir(r.dir)
	if err != nil {
		return err
	}
	page := make([]byte, pageSize)
	for _, d := range entries {
		slot, ok := segmentSlot(d.Name())
		if !ok {
			continue
		}
		r.slots = max(r.slots, slot+1)
		name := segmentName(r.dir, slot)
		f, err := r.fs.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		s := &segment{file: f, slot: slot, size: r.facts.SegmentSize}
		size, err := f.Size()
		if err != nil {
			return errors.Join(err, f.Close())
		}
		if size != r.facts.SegmentSize {
			s.size = size
			r.junk = append(r.junk, s) // its creation was not finished, if it holds no batch
			continue
		}
		if err := readFull(f, page, 0); err != nil {
			return errors.Join(err, f.Close())
		}
		id, seq, _, err := decodeHeader(page)
		switch {
		case errors.Is(err, redoubt.ErrVersion):
			return errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
		case err == nil && id != r.id:
			return errors.Join(fmt.Errorf("%s belongs to another journal: %w", name, redoubt.ErrCorrupt), f.Close())
		case err != nil || seq < r.facts.MinSeq:
			r.free = append(r.free, s)
		default:
			s.seq = seq
			r.live = append(r.live, s)
		}
		r.maxSeq = max(r.maxSeq, seq)
	}
	sort.Slice(r.live, func(a, b int) bool { return r.live[a].seq < r.live[b].seq })
	return nil
}

// measure finds what a segment holds: from its footer, or by its batch heads.
func (r *recovery) measure(s *segment) ([]headRef, error) {
	page := make([]byte, pageSize)
	if err := readFull(s.file, page, s.limit()); err != nil {
		return nil, err
	}
	e, id, seq, err := decodeFooter(page)
	if errors.Is(err, redoubt.ErrVersion) {
		return nil, err
	}
	if err == nil && id == r.id && seq == s.seq && e.end <= s.limit() {
		s.w, s.sealed, s.rolled = e, true, true
		last := e.last
		if e.more {
			last--
		}
		r.watermark = max(r.watermark, last)
		return nil, nil
	}
	s.w = extent{end: pageSize, marks: make([]mark, 0, maxMarks)}
	pg := &pager{file: s.file, size: s.size}
	if r.index != nil {
		if i, ok := r.index.Segments[s.seq]; ok && r.fits(pg, s, &i) {
			s.w = i.extent()
		}
	}
	var heads []headRef
	why := scanHeads(pg, r.id, s, &s.w, s.limit(), func(h *batchHead) {
		heads = append(heads, headRef{h.off, h.length, h.last()})
		r.watermark = max(r.watermark, h.durable)
	})
	if errors.Is(why, redoubt.ErrVersion) {
		return nil, why
	}
	if s.w.batches > 0 {
		r.damage = why
	}
	return heads, nil
}

// fits checks a row of the index against the segment: its last mark must be
// where the row says.
func (r *recovery) fits(pg *pager, s *segment, i *segmentInfo) bool {
	if len(i.Marks) == 0 || len(i.Marks) > maxMarks || i.Slot != s.slot || i.End > s.limit() || i.End%pageSize != 0 || i.Last > r.index.Watermark {
		return false
	}
	m := i.Marks[len(i.Marks)-1]
	if m.Off < pageSize || m.Off >= i.End || m.Off%pageSize != 0 {
		return false
	}
	p, err := pg.page(m.Off)
	if err != nil {
		return false
	}
	h, id, err := decodeBatch(p)
	return err == nil && id == r.id && h.seq == s.seq && h.off == m.Off && h.first == m.LSN && m.Off+h.length <= i.End
}

// continues reports whether s follows the chain so far.
func (r *recovery) continues(s *segment) bool {
	if len(r.chain) == 0 {
		// What is left of an LSN whose beginning is lost counts only if it is trimmed.
		return s.w.first < r.facts.Tail || s.w.first == r.facts.Tail && !s.w.part
	}
	p := &r.chain[len(r.chain)-1].w
	want := p.last + 1
	if p.more {
		want = p.last
	}
	return s.w.first == want && s.w.part == p.more && s.w.incarnation >= p.incarnation && s.w.epoch >= p.epoch
}

// verifyTail reads the payload of every batch that is not known to be durable
// and cuts the chain at the first that is not whole.
func (r *recovery) verifyTail() error {
	for i, s := range r.chain {
		for _, h := range r.heads[i] {
			if h.last <= r.watermark {
				continue
			}
			if err := verifyBatch(s.file, h.off, h.length); err != nil {
				if !errors.Is(err, redoubt.ErrCorrupt) {
					return err
				}
				r.damage = fmt.Errorf("%s at %d: %w", s.file.Name(), h.off, err)
				return r.cut(i, h.off)
			}
		}
	}
	return nil
}

// verifyBatch checks the records of one batch.
func verifyBatch(f vfs.File, off, length int64) error {
	b := make([]byte, length)
	if err := readFull(f, b, off); err != nil {
		return err
	}
	h, _, err := decodeBatch(b[:pageSize])
	if err != nil {
		return err
	}
	if h.length != length {
		return fmt.Errorf("length changed: %w", redoubt.ErrCorrupt)
	}
	_, err = h.records(b[pageSize:pageSize+h.payload], func(*redoubt.Write) (bool, error) { return true, nil })
	return err
}

// cut ends the chain at off of segment i.
func (r *recovery) cut(i int, off int64) error {
	r.stale = append(r.stale, r.chain[i+1:]...)
	r.chain, r.heads = r.chain[:i+1], r.heads[:i+1]
	s := r.chain[i]
	if off <= pageSize {
		r.stale = append(r.stale, s)
		r.chain, r.heads = r.chain[:i], r.heads[:i]
		return nil
	}
	s.w = extent{end: pageSize, marks: make([]mark, 0, maxMarks)}
	// Reaching off is all that is asked for; why the scan stops does not matter.
	_ = scanHeads(&pager{file: s.file, size: s.size}, r.id, s, &s.w, off, nil)
	if s.w.end != off {
		return fmt.Errorf("%s: batches before %d cannot be read again: %w", s.file.Name(), off, redoubt.ErrCorrupt)
	}
	s.rolled = false
	return nil
}

// cutOpenRun drops the beginning of an LSN whose last batch is missing.
func (r *recovery) cutOpenRun() error {
	n := len(r.chain)
	if n == 0 || !r.chain[n-1].w.more {
		return nil
	}
	i := n - 1
	for i > 0 {
		s, p := &r.chain[i].w, &r.chain[i-1].w
		if s.runStart > pageSize || !s.part || p.last != s.last {
			break
		}
		i--
	}
	r.damage = errors.New("the last record is not whole")
	return r.cut(i, r.chain[i].w.runStart)
}

// check compares the chain with what is known to have been durable.
func (r *recovery) check() error {
	head := r.facts.Base.LSN
	if n := len(r.chain); n > 0 {
		head = r.chain[n-1].w.last
		if first := r.chain[0].w.first; first > r.facts.Tail {
			return fmt.Errorf("records %d to %d are missing: %w", r.facts.Tail, first-1, redoubt.ErrCorrupt)
		}
	}
	if head < r.watermark || head+1 < r.facts.Tail {
		err := fmt.Errorf("records %d to %d were durable and cannot be read: %w", head+1, max(r.watermark, r.facts.Tail-1), redoubt.ErrCorrupt)
		if r.damage != nil {
			err = fmt.Errorf("%w (%v)", err, r.damage)
		}
		return err
	}
	return nil
}

// close closes every file; only for a recovery that failed.
func (r *recovery) close() {
	for _, list := range [][]*segment{r.live, r.chain, r.stale, r.free, r.junk} {
		for _, s := range list {
			s.file.Close()
		}
	}
}
