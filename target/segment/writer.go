package segment

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// maxListed is the number of records at which a file is sealed before its time,
// so that the list of the open file is bounded.
const maxListed = 1 << 16

// maxBatch bounds the bytes that one write appends; one more request may come to them.
const maxBatch = 32 << 20

// batchPart is the part of a file at which a batch ends, too, so that little of its
// room is left when a batch does not fit any more.
const batchPart = 8

// maxUnsynced is the number of batches that wait for a sync at most, so that a
// single shard does not wait behind an endless queue.
const maxUnsynced = 16

type request struct {
	h          *header
	head, data []byte
	from       *hit  // of a record that is moved: where it was read
	kills      []hit // of a tombstone: what it deletes in sealed files
	err        chan error
}

type writerStats struct{ puts, syncs atomic.Uint64 }

// writer owns the end of the log; it is the only one that appends. While what
// it has appended becomes durable (settle), it appends the next.
//
// All that a file will hold, with its footer, has its room from the start: what
// does not fit any more goes to the next file. So a full disk refuses a file, and
// nothing else.
type writer struct {
	l      *Log
	f      *logFile
	direct direct
	number uint64 // of f, or of the last file if f is nil
	end    int64
	room   int64 // bytes of f that are reserved; 0: it must be sealed
	listed []*header
	tally  tally // of listed, and of what was refused

	durable  atomic.Int64   // bytes of f that are; settle moves it
	appended chan *batch    // for settle, in order
	flying   sync.WaitGroup // batches that settle has not answered
}

func (l *Log) submit(ctx context.Context, r *request) error {
	r.err = make(chan error, 1)
	if err := l.usable(); err != nil {
		return &redoubt.Error{Op: "put shard", Object: r.h.ID.String(), Err: err}
	}
	select {
	case l.queue <- r:
	case <-ctx.Done():
		return ctx.Err()
	case <-l.done:
		return redoubt.ErrClosed
	}
	// Once queued the writer may be reading the caller's slices, so there is no
	// early return on ctx here; a write and a sync are bounded by the disk.
	select {
	case err := <-r.err:
		return err
	case <-l.done:
		l.stopped.Wait()
		select {
		case err := <-r.err:
			return err
		default:
			return redoubt.ErrClosed
		}
	}
}

func (w *writer) run() {
	defer w.l.stopped.Done()
	var settled sync.WaitGroup
	settled.Go(w.settle)
	defer settled.Wait()
	defer close(w.appended)
	most := int(min(maxBatch, w.l.o.FileSize/batchPart))
	for {
		select {
		case <-w.l.done:
			w.close()
			return
		case r := <-w.l.queue:
			rs, bytes := []*request{r}, r.bytes()
			for more := true; more && bytes < most; {
				select {
				case r := <-w.l.queue:
					rs, bytes = append(rs, r), bytes+r.bytes()
				default:
					more = false
				}
			}
			if err := w.write(rs); err != nil {
				if !errors.Is(err, errNoRoom) {
					w.l.fail(err)
				}
				answer(rs, err)
			}
		}
	}
}

func answer(rs []*request, err error) {
	for _, r := range rs {
		r.err <- err
	}
}

func (r *request) bytes() int { return len(r.head) + len(r.data) + int(r.h.Len) }

// write appends the requests and leaves them to settle, which answers them
// unless write returns an error.
func (w *writer) write(rs []*request) error {
	if err := w.l.usable(); err != nil {
		return err
	}
	if err := w.makeRoom(rs); err != nil {
		return err
	}
	var bufs [][]byte
	var zeros [sector]byte
	end, durable := w.end, w.durable.Load()
	for _, r := range rs {
		r.h.File, r.h.Offset, r.h.Durable = w.number, end, durable
		bufs = append(bufs, r.h.encode(), r.head, r.data)
		raw := int64(r.bytes())
		if pad := roundUp(raw) - raw; pad > 0 {
			bufs = append(bufs, zeros[:pad])
		}
		end += roundUp(raw)
	}
	if err := w.append(bufs, end-w.end); vfs.IsNoSpace(err) { // the file system does not keep what it has promised
		return noRoom("write to shard log file", w.f.Name(), end-w.end, err) // the next batch overwrites it
	} else if err != nil {
		return err
	}
	for _, r := range rs {
		r.h.Chunks = nil // the footer does not list them
		w.listed = append(w.listed, r.h)
	}
	b := &batch{f: w.f, rs: rs, from: w.end, to: end}
	w.end = end
	w.flying.Add(1)
	w.appended <- b
	return nil
}

// makeRoom sees to it that the records of rs, and the footer behind them, have
// their room in the open file.
func (w *writer) makeRoom(rs []*request) error {
	var n int64
	for _, r := range rs {
		n += roundUp(int64(r.bytes()))
	}
	if w.f != nil && w.room > 0 {
		w.tally.add(rs)
		if len(w.listed) < maxListed && w.end+n+w.tally.bound() <= w.room {
			return nil
		}
	}
	if w.f != nil {
		if err := w.seal(); err != nil {
			return err
		}
	}
	w.tally = tally{}
	w.tally.add(rs)
	return w.begin(sector + n + w.tally.bound())
}

// apply enters a record of the open file. l.mu is held.
func (l *Log) apply(r *request) {
	k := keyOf(&r.h.ID, l.number(r.h.name()))
	if r.from != nil {
		// If it was deleted or put anew while it was moved, the copy is dead: sealing marks it.
		if _, anew := l.open[k]; anew || r.from.now().isDead(r.from.index) {
			return
		}
		kill([]hit{*r.from})
	}
	kill(r.kills)
	l.open[k] = record{place: r.h.place(), deleted: r.h.Type == typeTombstone}
}

func (h *header) place() place {
	return place{file: h.File, off: h.Offset, headerLen: h.Len, headLen: h.HeadLen, shardLen: h.ShardLen, size: h.Size, k: h.K, m: h.M}
}

// seal waits until the file is durable and writes the footer; the file is never
// written again. From then on its records are found through it. errNoRoom: it is
// tried again before anything else is written.
func (w *writer) seal() error {
	w.flying.Wait()
	if err := w.l.usable(); err != nil {
		return err
	}
	w.closeDirect()
	w.room = 0
	foot, err := sealFile(w.f, w.number, w.end, w.listed)
	if vfs.IsNoSpace(err) { // its records are durable, and whatever became of the footer is written again
		return noRoom("seal shard log file", w.f.Name(), w.tally.bound(), err)
	} else if err != nil {
		return err
	}
	t := newListing(w.f, &foot.geometry, &foot.summary)
	w.l.mu.Lock()
	for i, h := range foot.sorted {
		if r := w.l.open[keyOf(&h.ID, w.l.series[h.name()])]; h.Type == typeShard && (r.deleted || r.off != h.Offset) {
			t.kill(i, h.total())
		}
	}
	w.l.bytes -= w.end - sector // of its records, which resize counts again
	w.l.resize(w.f, foot.off+foot.length()+trailerLen)
	w.l.enter(w.f, t, &foot.summary)
	w.l.ranges.settle()
	clear(w.l.open)
	w.l.mu.Unlock()
	w.f, w.listed = nil, nil
	return nil
}

// enter makes known what a file lists. l.mu is held, or l is not shared yet.
func (l *Log) enter(f *logFile, t *listing, s *summary) {
	f.list = t
	l.shape++
	for i := range s.spans {
		p := &s.spans[i]
		l.ranges.add(epochKey{l.number(s.series[p.series]), p.epoch}, p.lo, p.hi, f.number)
	}
}

// sealFile writes the footer and the trailer of the records hs behind them, at end.
func sealFile(f vfs.File, number uint64, end int64, hs []*header) (*footer, error) {
	foot := encodeFooter(number, end, hs)
	if _, err := f.WritevAt([][]byte{foot.bytes, encodeTrailer(end, len(foot.bytes))}, end); err != nil {
		return nil, err
	}
	if err := f.Truncate(end + int64(len(foot.bytes)) + trailerLen); err != nil {
		return nil, err
	}
	return foot, f.Sync()
}

// close answers what is still queued and seals the file, so that the next
// open need not scan it.
func (w *writer) close() {
	for more := true; more; {
		select {
		case r := <-w.l.queue:
			r.err <- redoubt.ErrClosed
		default:
			more = false
		}
	}
	w.flying.Wait()
	if w.f != nil && len(w.listed) > 0 && w.l.Err() == nil {
		// Without room for the footer the next open scans the file.
		if err := w.seal(); err != nil && !errors.Is(err, errNoRoom) {
			w.l.fail(err)
		}
	}
	w.closeDirect()
}

// usable returns ErrFailed after the first failure.
func (l *Log) usable() error {
	if err := l.Err(); err != nil {
		return fmt.Errorf("%w (%w)", redoubt.ErrFailed, err)
	}
	return nil
}

func (l *Log) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed == nil {
		l.failed = err
		l.o.Logger.Error("shard log failed; no shard is taken until it is reopened", "dir", l.dir, "err", err)
	}
}
