package journal

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// The header page of a segment file holds, after the common fields:
//
//	40 size u64 of the file
//
// It is durable before the first batch of that seq is written.
func encodeHeader(p []byte, id journalID, seq uint64, size int64) {
	clear(p)
	le.PutUint64(p[40:], uint64(size))
	sealPage(p, magicSegment, id, seq)
}

func decodeHeader(p []byte) (id journalID, seq uint64, size int64, err error) {
	id, seq, err = openPage(p, magicSegment)
	if err != nil {
		return id, 0, 0, err
	}
	return id, seq, int64(le.Uint64(p[40:])), nil
}

// The footer is the last page of a full segment. It is written after the
// batches were synced, so a valid footer proves that they are durable, and
// opening reads this page in place of every batch head:
//
//	 40 end u64 of the batches   48 first LSN u64   56 last LSN u64
//	 64 first time i64           72 last time i64   80 incarnation u64
//	 88 epoch u64                96 batches u32    100 records u32
//	104 flags u32 (1: the last LSN goes on in the next segment; 2: the first one
//	    began in the segment before)   108 marks u32
//	112 run start u64: offset of the first batch of that last LSN, if flag 1
//	120 payload u64 bytes       128 marks of 24 bytes: LSN u64, time i64, offset u64
const (
	markOff  = 128
	markSize = 24
	maxMarks = (pageSize - markOff) / markSize
)

// mark says that the batch at off begins with lsn, written at time.
type mark struct {
	LSN  redoubt.LSN `json:"lsn"`
	Time int64       `json:"time"`
	Off  int64       `json:"off"`
}

// extent is what a segment holds: the in-memory form of a footer.
type extent struct {
	end                 int64 // offset after the last batch
	first, last         redoubt.LSN
	firstTime, lastTime int64
	incarnation         uint64
	epoch               redoubt.Epoch
	batches, records    int
	payload             int64
	more                bool  // the last LSN goes on in the next segment
	part                bool  // the first LSN began in the segment before
	runStart            int64 // offset of the first batch of that LSN, if more
	marks               []mark
}

// add accounts for a batch that is written at e.end.
func (e *extent) add(h *batchHead, spacing int64) {
	if e.batches == 0 {
		e.first, e.last, e.part = h.first, h.first-1, h.part
	}
	if h.count > 0 {
		if e.records == 0 {
			e.firstTime = h.timeOf(0)
		}
		if !h.part && len(e.marks) < maxMarks && (len(e.marks) == 0 || h.off-e.marks[len(e.marks)-1].Off >= spacing) {
			e.marks = append(e.marks, mark{h.first, h.timeOf(0), h.off})
		}
		e.lastTime = h.timeOf(h.count - 1)
		if h.more && !(h.part && h.last() == h.first && e.batches > 0) {
			e.runStart = h.off
		}
		e.more = h.more
		e.last = h.last()
	}
	e.batches++
	e.records += h.count
	e.payload += h.payload
	e.incarnation, e.epoch = h.incarnation, h.epoch
	e.end = h.off + h.length
}

func (e *extent) encode(p []byte, id journalID, seq uint64) {
	clear(p)
	for i, v := range []uint64{uint64(e.end), uint64(e.first), uint64(e.last), uint64(e.firstTime), uint64(e.lastTime), e.incarnation, uint64(e.epoch)} {
		le.PutUint64(p[40+8*i:], v)
	}
	le.PutUint32(p[96:], uint32(e.batches))
	le.PutUint32(p[100:], uint32(e.records))
	le.PutUint32(p[104:], uint32(flags(e.more, e.part)))
	if e.more {
		le.PutUint64(p[112:], uint64(e.runStart))
	}
	le.PutUint32(p[108:], uint32(len(e.marks)))
	le.PutUint64(p[120:], uint64(e.payload))
	for i, m := range e.marks {
		d := p[markOff+i*markSize:]
		le.PutUint64(d, uint64(m.LSN))
		le.PutUint64(d[8:], uint64(m.Time))
		le.PutUint64(d[16:], uint64(m.Off))
	}
	sealPage(p, magicFooter, id, seq)
}

func decodeFooter(p []byte) (e extent, id journalID, seq uint64, err error) {
	id, seq, err = openPage(p, magicFooter)
	if err != nil {
		return e, id, 0, err
	}
	u := func(off int) uint64 { return le.Uint64(p[off:]) }
	e = extent{end: int64(u(40)), first: redoubt.LSN(u(48)), last: redoubt.LSN(u(56)), firstTime: int64(u(64)), lastTime: int64(u(72)),
		incarnation: u(80), epoch: redoubt.Epoch(u(88)), batches: int(le.Uint32(p[96:])), records: int(le.Uint32(p[100:])),
		more: le.Uint32(p[104:])&flagMore != 0, part: le.Uint32(p[104:])&flagPart != 0, runStart: int64(u(112)), payload: int64(u(120))}
	n := le.Uint32(p[108:])
	if n > maxMarks || e.end < pageSize || e.end%pageSize != 0 || e.first == 0 || e.last+1 < e.first || e.more && (e.runStart < pageSize || e.runStart >= e.end) {
		return e, id, seq, fmt.Errorf("segment footer out of bounds: %w", redoubt.ErrCorrupt)
	}
	for i := range int(n) {
		d := markOff + i*markSize
		m := mark{redoubt.LSN(u(d)), int64(u(d + 8)), int64(u(d + 16))}
		if m.Off < pageSize || m.Off >= e.end || m.Off%pageSize != 0 || i > 0 && (m.LSN <= e.marks[i-1].LSN || m.Off <= e.marks[i-1].Off) {
			return e, id, seq, fmt.Errorf("segment footer's marks out of order: %w", redoubt.ErrCorrupt)
		}
		e.marks = append(e.marks, m)
	}
	return e, id, seq, nil
}
