package journal

import "github.com/redoubt-dr/redoubt"

// index keeps what only makes opening faster or saves work: everything in it
// can be found again in the facts and the segment files. It is used by one
// goroutine at a time.
type index interface {
	// load returns the last state saved, perhaps an old one; nil if there is none.
	load() (*checkpoint, error)
	// save replaces the state. It need not survive a power cut.
	save(c *checkpoint) error
	close() error
}

// checkpoint is the state that the index keeps. It is meant for one journal
// between two resets; else it is ignored.
type checkpoint struct {
	ID        string                 `json:"id"`
	Resets    uint64                 `json:"resets"`
	Watermark redoubt.LSN            `json:"watermark"` // durable then, so it must be there now
	Applied   redoubt.LSN            `json:"applied"`
	Cursors   map[uint64]redoubt.LSN `json:"cursors"` // acknowledged, by the cursor's serial
	Segments  map[uint64]segmentInfo `json:"-"`       // by seq; saved one by one
}

// segmentInfo is a row of the segment table and of the time index. It says
// only what was durable when it was saved.
type segmentInfo struct {
	Slot        int           `json:"slot"`
	End         int64         `json:"end"`
	First       redoubt.LSN   `json:"first"`
	Last        redoubt.LSN   `json:"last"`
	FirstTime   int64         `json:"first_time"`
	LastTime    int64         `json:"last_time"`
	Incarnation uint64        `json:"incarnation"`
	Epoch       redoubt.Epoch `json:"epoch"`
	Batches     int           `json:"batches"`
	Records     int           `json:"records"`
	Payload     int64         `json:"payload"`
	Part        bool          `json:"part,omitempty"`
	Marks       []mark        `json:"marks"`
}

func infoOf(slot int, p *extent) segmentInfo {
	return segmentInfo{slot, p.end, p.first, p.last, p.firstTime, p.lastTime, p.incarnation, p.epoch, p.batches, p.records, p.payload, p.part,
		append([]mark(nil), p.marks...)}
}

func (i *segmentInfo) extent() extent {
	return extent{end: i.End, first: i.First, last: i.Last, firstTime: i.FirstTime, lastTime: i.LastTime, incarnation: i.Incarnation,
		epoch: i.Epoch, batches: i.Batches, records: i.Records, payload: i.Payload, part: i.Part, marks: append(make([]mark, 0, maxMarks), i.Marks...)}
}

// checkpoint saves the present state in the index. The index's first error
// ends its use: the journal goes on without it.
func (j *Journal) checkpoint() {
	j.openLate()
	j.mu.Lock()
	if j.index == nil || j.indexErr != nil {
		j.mu.Unlock()
		return
	}
	c := &checkpoint{ID: j.idString(), Resets: j.resets, Watermark: j.Durable(), Applied: j.applied,
		Cursors: map[uint64]redoubt.LSN{}, Segments: map[uint64]segmentInfo{}}
	for _, cur := range j.cursors {
		c.Cursors[cur.serial] = cur.acked
	}
	for _, s := range j.chain {
		if d := &s.synced; d.records > 0 && !d.more && d.last <= c.Watermark {
			c.Segments[s.seq] = infoOf(s.slot, d)
		}
	}
	ix := j.index
	j.mu.Unlock()
	if err := ix.save(c); err != nil {
		j.log.Warn("journal index is out of use until the next start", "dir", j.dir, "err", err)
		j.mu.Lock()
		j.indexErr = err
		j.mu.Unlock()
	}
}

// openLate opens the index of a journal that was just made: nothing is in it, so
// nobody waits for it.
func (j *Journal) openLate() {
	j.mu.Lock()
	late := j.late
	j.late = false
	j.mu.Unlock()
	if !late {
		return
	}
	ix, _, err := j.openIndex()
	j.mu.Lock()
	j.index, j.indexErr = ix, err
	j.mu.Unlock()
}
