package journal

import (
	"fmt"
	"sort"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Bounds of one read of a segment file, in bytes.
const (
	minChunk = 16 << 10
	maxChunk = 1 << 20
)

// hint remembers where a sequential reader stopped: the batch at off holds or
// precedes LSN next.
type hint struct {
	next redoubt.LSN
	seg  *segment
	off  int64
}

// reader walks over batches. It pins the segment that it reads, so that the
// file is not reused under it.
type reader struct {
	j     *Journal
	seg   *segment
	off   int64 // of the next batch
	end   int64 // of what was published when it was looked up
	chunk int64

	buf    []byte // another for each read: records refer to it
	bufOff int64
	lent   *loan       // where it comes from; nil: it is fresh
	seen   bool        // last and more are known
	last   redoubt.LSN // of the batch before
	more   bool
}

// seek returns a reader at a batch that is not after LSN from, or nil when
// from lies beyond the head.
func (j *Journal) seek(from redoubt.LSN, h *hint) (*reader, error) {
	const op = "read journal"
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.closed:
		return nil, &redoubt.Error{Op: op, Object: j.dir, Err: redoubt.ErrClosed}
	case from > j.head:
		return nil, nil
	case from < j.tail:
		return nil, &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("LSN %d was trimmed, the journal begins at %d: %w", from, j.tail, redoubt.ErrGap)}
	}
	r := &reader{j: j, chunk: maxChunk}
	if h != nil && h.seg != nil && h.seg.live && h.next == from {
		r.seg, r.off = h.seg, h.off
	} else {
		i := sort.Search(len(j.chain), func(i int) bool { return j.chain[i].p.last >= from })
		if i == len(j.chain) {
			return nil, &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("no segment holds LSN %d: %w", from, redoubt.ErrCorrupt)}
		}
		r.seg, r.off = j.chain[i], pageSize
		marks := r.seg.p.marks
		if k := sort.Search(len(marks), func(k int) bool { return marks[k].LSN > from }); k > 0 {
			r.off = marks[k-1].Off
		}
	}
	r.seg.pins++
	r.end = r.seg.p.end
	return r, nil
}

func (r *reader) close() {
	r.j.mu.Lock()
	r.j.unpin(r.seg)
	r.j.mu.Unlock()
}

// advance goes to the next segment when this one is read to its end. It
// reports false at the journal's head.
func (r *reader) advance() (bool, error) {
	for r.off >= r.end {
		r.j.mu.Lock()
		if r.end = r.seg.p.end; r.off >= r.end {
			chain := r.j.chain
			i := sort.Search(len(chain), func(i int) bool { return chain[i].seq > r.seg.seq })
			if i == len(chain) {
				r.j.mu.Unlock()
				return false, nil
			}
			if first := chain[i].p.first; !r.seg.live && r.seen && first > r.last+1 {
				r.j.mu.Unlock()
				return false, &redoubt.Error{Op: "read journal", Object: r.j.dir, Err: fmt.Errorf("LSN %d was trimmed during the read: %w", r.last+1, redoubt.ErrGap)}
			}
			r.j.unpin(r.seg)
			r.seg = chain[i]
			r.seg.pins++
			r.off, r.end, r.buf = pageSize, r.seg.p.end, nil
		}
		r.j.mu.Unlock()
	}
	return true, nil
}

// load makes n bytes from r.off on available, in memory that no record before refers to.
func (r *reader) load(n int64) ([]byte, error) {
	if at := r.off - r.bufOff; r.buf != nil && at >= 0 && at+n <= int64(len(r.buf)) {
		return r.buf[at : at+n : at+n], nil
	}
	if r.off+n > r.end {
		return nil, fmt.Errorf("batch reaches over the end %d: %w", r.end, redoubt.ErrCorrupt)
	}
	r.buf, r.bufOff = r.lent.get(int(min(max(n, r.chunk), r.end-r.off))), r.off
	if err := readFull(r.seg.file, r.buf, r.off); err != nil {
		r.buf = nil
		return nil, err
	}
	return r.buf[:n:n], nil
}

// next returns the next batch, and its payload if withData; ok is false at the head.
func (r *reader) next(withData bool) (h batchHead, payload []byte, ok bool, err error) {
	if ok, err := r.advance(); !ok {
		return h, nil, false, err
	}
	fail := func(err error) (batchHead, []byte, bool, error) {
		return h, nil, false, &redoubt.Error{Op: "read journal", Object: fmt.Sprintf("%s at %d", r.seg.file.Name(), r.off), Err: err,
			Hint: "run 'redoubt journal verify' and look at the disk"}
	}
	p, err := r.load(pageSize)
	if err != nil {
		return fail(err)
	}
	h, id, err := decodeBatch(p)
	if err == nil && (id != r.j.id || h.seq != r.seg.seq || h.off != r.off) {
		err = fmt.Errorf("batch of another place: %w", redoubt.ErrCorrupt)
	}
	if want := r.last + 1; err == nil && r.seen && (h.part != r.more || h.first != want && !(h.part && h.first == r.last)) {
		err = fmt.Errorf("LSN %d where %d is due: %w", h.first, want, redoubt.ErrCorrupt)
	}
	if err != nil {
		return fail(err)
	}
	if withData {
		if p, err = r.load(h.length); err != nil {
			return fail(err)
		}
		h.page, payload = p[:pageSize], p[pageSize:pageSize+h.payload]
	}
	r.off += h.length
	r.seen, r.last, r.more = true, h.last(), h.more
	return h, payload, true, nil
}

// records decodes and verifies the records of a batch.
func (h *batchHead) records(payload []byte, fn func(*redoubt.Write) (bool, error)) (bool, error) {
	off := 0
	for i := range h.count {
		var w redoubt.Write
		n := h.write(i, &w)
		if n > 0 {
			w.Data = payload[off : off+n : off+n]
			off += n
			if redoubt.Checksum(w.Data) != w.CRC {
				return false, fmt.Errorf("checksum of LSN %d: %w", w.LSN, redoubt.ErrCorrupt)
			}
		}
		if ok, err := fn(&w); !ok || err != nil {
			return false, err
		}
	}
	return true, nil
}

// scan calls fn with every record from LSN from on, until fn returns false. h,
// if not nil, is where the last scan stopped, and is moved on. want is the
// amount of data that the caller is after, in bytes; lent gives the memory for it.
func (j *Journal) scan(from redoubt.LSN, want int, h *hint, lent *loan, fn func(*redoubt.Write) (bool, error)) error {
	r, err := j.seek(from, h)
	if r == nil || err != nil {
		return err
	}
	defer r.close()
	r.lent = lent
	r.chunk = min(max(int64(want)+int64(want)/4, minChunk), maxChunk)
	for {
		if ok, err := r.advance(); err != nil {
			return err
		} else if !ok {
			break
		}
		at := hint{seg: r.seg, off: r.off}
		b, payload, ok, err := r.next(true)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		var stopped redoubt.LSN
		ok, err = b.records(payload, func(w *redoubt.Write) (bool, error) {
			if w.LSN < from {
				return true, nil
			}
			ok, err := fn(w)
			if !ok {
				stopped = w.LSN
			}
			return ok, err
		})
		if err != nil {
			return &redoubt.Error{Op: "read journal", Object: fmt.Sprintf("%s at %d", at.seg.file.Name(), at.off), Err: err}
		}
		if !ok {
			if h != nil {
				at.next = stopped
				*h = at
			}
			return nil
		}
	}
	if h != nil && r.seen {
		*h = hint{next: r.last + 1, seg: r.seg, off: r.off}
	}
	return nil
}

// Replay calls fn with every record from LSN from on, in order and verified,
// up to the head. fn may keep the record's Data. It stops at fn's first error
// and returns it. redoubt.ErrGap: from was trimmed.
func (j *Journal) Replay(from redoubt.LSN, fn func(*redoubt.Write) error) error {
	var failed error
	err := j.scan(from, maxChunk, nil, nil, func(w *redoubt.Write) (bool, error) {
		failed = fn(w)
		return failed == nil, nil
	})
	if failed != nil {
		return failed
	}
	return err
}

// Dirty returns the extents that records after LSN after have changed, sorted
// and merged. It reads heads only, no data.
func (j *Journal) Dirty(after redoubt.LSN) (map[redoubt.DiskID][]redoubt.Extent, error) {
	d := dirtyMap{}
	err := j.heads(after, func(w *redoubt.Write) bool {
		if w.Kind == redoubt.KindWrite || w.Kind.Zeroes() {
			d.add(w.Disk, w.Extent)
		}
		return true
	})
	if err != nil {
		return nil, err
	}
	return d.result(), nil
}

// heads calls fn with the records after LSN after, without their data, until it
// returns false.
func (j *Journal) heads(after redoubt.LSN, fn func(*redoubt.Write) bool) error {
	r, err := j.seek(after+1, nil)
	if r == nil || err != nil {
		return err
	}
	defer r.close()
	r.chunk = pageSize
	for {
		h, _, ok, err := r.next(false)
		if err != nil || !ok {
			return err
		}
		for i := range h.count {
			var w redoubt.Write
			h.write(i, &w)
			if w.LSN > after && !fn(&w) {
				return nil
			}
		}
	}
}

// dirtyMap gathers extents, merging them when there are many more than before.
type dirtyMap map[redoubt.DiskID]*extents

type extents struct {
	list   []redoubt.Extent
	merged int // of list, after the last merge
}

func (d dirtyMap) add(disk redoubt.DiskID, e redoubt.Extent) {
	if e.Empty() {
		return
	}
	x := d[disk]
	if x == nil {
		x = new(extents)
		d[disk] = x
	}
	x.list = append(x.list, e)
	if len(x.list) > 2*x.merged+1<<16 {
		x.merge()
	}
}

func (x *extents) merge() {
	sort.Slice(x.list, func(a, b int) bool { return x.list[a].Off < x.list[b].Off })
	out := x.list[:0]
	for _, e := range x.list {
		if n := len(out); n > 0 && e.Off <= out[n-1].End() {
			out[n-1].Len = max(out[n-1].End(), e.End()) - out[n-1].Off
			continue
		}
		out = append(out, e)
	}
	x.list, x.merged = out, len(out)
}

func (d dirtyMap) result() map[redoubt.DiskID][]redoubt.Extent {
	out := make(map[redoubt.DiskID][]redoubt.Extent, len(d))
	for disk, x := range d {
		x.merge()
		out[disk] = x.list
	}
	return out
}

// pager reads pages of a file in rising order, many at a time while they lie
// close together.
type pager struct {
	file vfs.File
	size int64
	buf  []byte
	off  int64
	n    int
}

const pagerWindow = 128 << 10

// page returns the page at off; it is valid until the next call.
func (p *pager) page(off int64) ([]byte, error) {
	if at := off - p.off; p.n > 0 && at >= 0 && at+pageSize <= int64(p.n) {
		return p.buf[at : at+pageSize], nil
	}
	if p.buf == nil {
		p.buf = make([]byte, pagerWindow)
	}
	n := int64(pageSize)
	if off-p.off < 2*pagerWindow {
		n = min(pagerWindow, p.size-off)
	}
	p.off, p.n = off, 0
	if err := readFull(p.file, p.buf[:n], off); err != nil {
		return nil, err
	}
	p.n = int(n)
	return p.buf[:pageSize], nil
}
