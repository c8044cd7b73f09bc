package journal

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// writer is what an append works with. It is guarded by Journal.appendMu.
type writer struct {
	cur         *segment // takes the next batch; nil before the first
	head        redoubt.LSN
	time        int64
	incarnation uint64
	plan        []planned
	fresh       []*segment // spares that the present append takes
	page        []byte     // head page of the batch being written
	bufs        [][]byte
}

var zeroPage [pageSize]byte // only ever read

// Append puts ws at the end of the journal, in order, and fills in their LSN
// and Time. CRC must be the checksum of Data (for kinds other than KindWrite a
// zero CRC is filled in). On return the records survive a kill of the process;
// Sync makes them survive a power cut. Data may be reused by the caller.
//
// redoubt.ErrJournalFull means that nothing was appended; it goes away when
// SetApplied or a cursor's Ack lets segments be trimmed. Any other failure of
// the disk is final, see Err. Concurrent calls are put one after the other.
func (j *Journal) Append(ws []redoubt.Write) error {
	if len(ws) == 0 {
		return nil
	}
	if err := j.checkWrites("append to journal", ws); err != nil {
		return err
	}
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	now := max(j.now().UnixNano(), j.wr.time)
	for i := range ws {
		ws[i].LSN, ws[i].Time = j.wr.head+1+redoubt.LSN(i), now
	}
	err := j.append("append to journal", j.epoch, ws)
	if err != nil {
		for i := range ws {
			ws[i].LSN, ws[i].Time = 0, 0
		}
	}
	return err
}

// AppendReplica appends records of another journal, whose LSN and Time are
// kept. They must follow the head (redoubt.ErrGap) and belong to this
// journal's epoch (redoubt.ErrFenced). Several records of one call may share
// an LSN, as the parts of a copied extent do; they count as one: all of them
// are recovered or none.
func (j *Journal) AppendReplica(e redoubt.Epoch, ws []redoubt.Write) error {
	const op = "append to replica journal"
	if len(ws) == 0 {
		return nil
	}
	if err := j.checkWrites(op, ws); err != nil {
		return err
	}
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	if e != j.epoch {
		return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("epoch %d, the journal has %d: %w", e, j.epoch, redoubt.ErrFenced)}
	}
	last := j.wr.head
	for i := range ws {
		if l := ws[i].LSN; l != last+1 && (i == 0 || l != last) {
			return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("LSN %d after %d: %w", l, last, redoubt.ErrGap)}
		}
		last = ws[i].LSN
	}
	return j.append(op, e, ws)
}

// checkWrites refuses what the format cannot hold. It fills in the CRC of
// data that was not checked where it entered.
func (j *Journal) checkWrites(op string, ws []redoubt.Write) error {
	for i := range ws {
		w := &ws[i]
		ok := w.Kind.Valid() && len(w.Data) <= redoubt.MaxWriteData && w.Extent.End() >= w.Extent.Off
		if w.Kind == redoubt.KindWrite {
			ok = ok && uint64(len(w.Data)) == w.Extent.Len
		} else if len(w.Data) > 0 {
			if w.CRC == 0 {
				w.CRC = redoubt.Checksum(w.Data)
			}
			ok = ok && w.CRC == redoubt.Checksum(w.Data)
		}
		if !ok {
			return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("%s of %s with %d bytes of data: %w", w.Kind, w.Extent, len(w.Data), redoubt.ErrInvalid)}
		}
	}
	return nil
}

// append writes ws, whose LSNs continue the head. It is called with appendMu held.
func (j *Journal) append(op string, e redoubt.Epoch, ws []redoubt.Write) error {
	if err := j.usable(op); err != nil {
		return err
	}
	if j.o.readOnly {
		return &redoubt.Error{Op: op, Object: j.dir, Err: redoubt.ErrReadOnly}
	}
	wr := &j.wr
	need := wr.makePlan(ws, j.segmentSize())
	wr.fresh = wr.fresh[:0]
	if need > 0 {
		if err := j.takeSpares(op, need); err != nil {
			return err
		}
	}
	first := wr.cur
	at := 0
	for _, p := range wr.plan {
		if p.seg > at || wr.cur == nil {
			wr.cur, at = wr.fresh[p.seg-1], p.seg
		}
		if err := j.writeBatch(e, p, ws[p.from:p.to]); err != nil {
			return j.fail(op, wr.cur.file.Name(), err)
		}
	}
	lastW := &ws[len(ws)-1]
	wr.head, wr.time = lastW.LSN, max(wr.time, lastW.Time)
	j.publish(first)
	j.count.appends.Add(1)
	j.count.records.Add(int64(len(ws)))
	j.count.batches.Add(int64(len(wr.plan)))
	return nil
}

// writeBatch writes one batch with one pwritev at the end of the open segment.
func (j *Journal) writeBatch(e redoubt.Epoch, p planned, ws []redoubt.Write) error {
	wr, s := &j.wr, j.wr.cur
	h := batchHead{seq: s.seq, off: s.w.end, incarnation: wr.incarnation, epoch: e, first: wr.head + 1, durable: j.Durable(),
		length: pageSize + padded(p.bytes), payload: p.bytes, count: len(ws), more: p.more, part: p.part, page: wr.page}
	if len(ws) > 0 {
		h.first = ws[0].LSN
	}
	h.encode(wr.page, j.id, ws)
	bufs := append(wr.bufs[:0], wr.page)
	for i := range ws {
		if len(ws[i].Data) > 0 {
			bufs = append(bufs, ws[i].Data)
		}
	}
	if pad := h.length - pageSize - p.bytes; pad > 0 {
		bufs = append(bufs, zeroPage[:pad])
	}
	n, err := s.file.WritevAt(bufs, h.off)
	clear(bufs) // the callers' memory is theirs again
	wr.bufs = bufs[:0]
	if err == nil && int64(n) < h.length {
		err = fmt.Errorf("short write: %d of %d bytes", n, h.length)
	}
	if err != nil {
		return err
	}
	s.w.add(&h, spacing(s.size))
	return nil
}

// publish shows what was written to readers and syncs. first is the segment
// that was open before. It is called with appendMu held.
func (j *Journal) publish(first *segment) {
	wr := &j.wr
	j.mu.Lock()
	was := j.filling()
	if first != nil {
		j.show(first)
		first.rolled = len(wr.fresh) > 0
	}
	for i, s := range wr.fresh {
		s.live, s.rolled = true, i < len(wr.fresh)-1
		j.chain = append(j.chain, s)
		j.show(s)
	}
	j.taken = 0
	j.head, j.headTime = wr.head, wr.time
	j.tell()
	wake := len(wr.fresh) > 0 || !was && j.filling()
	j.mu.Unlock()
	if wake {
		j.wake()
	}
}

// show publishes one segment's extent. It is called with appendMu and mu held.
func (j *Journal) show(s *segment) {
	if s.p.end == s.w.end {
		return
	}
	s.p = s.w // marks beyond the published length are never read, so sharing them is safe
	if !s.dirty {
		s.dirty = true
		j.dirty = append(j.dirty, s)
	}
}
