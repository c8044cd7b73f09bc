package journal

import "github.com/redoubt-dr/redoubt"

// planned is a batch to be written: ws[from:to], with bytes of data, into the
// seg-th segment (0 is the open one, 1 the first fresh one).
type planned struct {
	seg, from, to int
	bytes         int64
	more          bool // the last LSN goes on in the next batch
	part          bool // the first LSN began in the batch before
}

// makePlan splits ws into batches and returns how many fresh segments they
// need. Nothing is written before all of those are at hand, so that a full
// journal leaves nothing appended. Records that share an LSN stay in one batch
// where they fit into one.
func (wr *writer) makePlan(ws []redoubt.Write, segmentSize int64) (need int) {
	wr.plan = wr.plan[:0]
	room := int64(0)
	if wr.cur != nil {
		room = wr.cur.limit() - wr.cur.w.end
	}
	open := false
	cur := planned{}
	fits := func(n int, bytes int64) bool {
		total := cur.bytes + bytes
		return cur.to-cur.from+n <= maxBatch && total <= maxPayload && pageSize+padded(total) <= room
	}
	flush := func(more bool) {
		cur.more = more
		wr.plan = append(wr.plan, cur)
		room -= pageSize + padded(cur.bytes)
		open = false
	}
	for i := 0; i < len(ws); {
		k, bytes := i+1, int64(len(ws[i].Data))
		for k < len(ws) && ws[k].LSN == ws[i].LSN {
			bytes += int64(len(ws[k].Data))
			k++
		}
		if open && !fits(k-i, bytes) {
			flush(false)
		}
		for start := i; i < k; i++ {
			n := int64(len(ws[i].Data))
			if open && !fits(1, n) {
				flush(i > start)
			}
			if !open {
				if pageSize+padded(n) > room {
					need++
					room = segmentSize - 2*pageSize
				}
				cur, open = planned{seg: need, from: i, to: i, part: i > start}, true
			}
			cur.to, cur.bytes = i+1, cur.bytes+n
		}
	}
	flush(false)
	return need
}
