package catalog

import (
	"slices"
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// record is a Segment without pointers: 64 bytes, invisible to the garbage
// collector, so that a million of them cost 64 MB and no scan.
type record struct {
	first, last         redoubt.LSN
	firstTime, lastTime int64
	baseline            redoubt.LSN
	size, headLen       uint32
	shardSize, crc      uint32
	stored              uint32
	place               uint32 // index into places
}

const chunkLen = 1024

// chunk holds the records of up to chunkLen segments. gen is the generation in
// which the chunk's array was made: a snapshot starts a new generation, and a
// record of an older one is never changed in place.
type chunk struct {
	recs   []record
	starts []uint16 // of each record the first ordinal, within the chunk; nil: each is one segment's (stretch.go)
	gen    uint64
}

func (c *chunk) full() bool { return c.starts != nil || len(c.recs) == chunkLen }

func (c *chunk) at(i uint64) *record {
	if c.starts == nil {
		return &c.recs[i]
	}
	return &c.recs[c.holder(i)]
}

// history is the segments of one (group, epoch), by ordinal. All chunks but
// the last are full.
type history struct {
	chunks []chunk
	tally  tally
}

func (h *history) len() uint64 {
	if len(h.chunks) == 0 {
		return 0
	}
	last := len(h.chunks) - 1
	if h.chunks[last].full() {
		return uint64(last+1) * chunkLen
	}
	return uint64(last)*chunkLen + uint64(len(h.chunks[last].recs))
}

func (h *history) at(i uint64) *record { return h.chunks[i/chunkLen].at(i % chunkLen) }

func (h *history) add(r record, gen uint64) {
	n := len(h.chunks)
	if n == 0 || h.chunks[n-1].full() {
		c := chunk{gen: gen}
		if n > 0 {
			c.recs = make([]record, 0, chunkLen) // a long history: no regrowth
		}
		h.chunks = append(h.chunks, c)
		n++
	}
	// A frozen copy sees the array up to its own length only, so appending behind it is safe.
	h.chunks[n-1].recs = append(h.chunks[n-1].recs, r)
}

// own returns record i to be changed, leaving frozen copies as they are. It is
// not for segments of which nothing is left: they may share a record.
func (h *history) own(i, gen uint64) *record {
	c := &h.chunks[i/chunkLen]
	if c.gen != gen {
		c.recs, c.gen = slices.Clone(c.recs), gen
	}
	return c.at(i % chunkLen)
}

// freeze returns a copy that later changes do not reach, provided that they
// carry a later generation. It costs one chunk header per chunkLen records.
func (h *history) freeze() history { return history{chunks: slices.Clone(h.chunks)} }

// find returns the ordinal of the record that holds lsn.
func (h *history) find(lsn redoubt.LSN) (uint64, bool) {
	n := h.len()
	i := uint64(sort.Search(int(n), func(i int) bool { return h.at(uint64(i)).last >= lsn }))
	return i, i < n && h.at(i).first <= lsn
}

// findTime returns the ordinal of the last record that begins at or before t.
func (h *history) findTime(t int64) (uint64, bool) {
	i := sort.Search(int(h.len()), func(i int) bool { return h.at(uint64(i)).firstTime > t })
	return uint64(i - 1), i > 0
}

// place is where the shards of a segment lie. Many segments share one.
type place struct {
	k, m  uint8
	nodes []redoubt.NodeID
}

// places interns them: a node list is stored once, however many segments use it.
type places struct {
	list []place
	byID map[string]uint32
}

func placeKey(k, m uint8, nodes []redoubt.NodeID) string {
	b := []byte{k, m}
	for _, n := range nodes {
		b = append(append(b, n...), 0)
	}
	return string(b)
}

// intern returns the index of the place, adding it when it is new.
func (p *places) intern(k, m uint8, nodes []redoubt.NodeID) uint32 {
	key := placeKey(k, m, nodes)
	if i, ok := p.byID[key]; ok {
		return i
	}
	i := uint32(len(p.list))
	p.list = append(p.list, place{k: k, m: m, nodes: slices.Clone(nodes)})
	p.byID[key] = i
	return i
}
