package repair

import (
	"cmp"
	"container/heap"
	"math/bits"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// missing is a shard that this node should have and has not.
type missing struct {
	series  index.Series
	ordinal uint64
	crc     uint32 // of the delta
	shard   int
	bytes   int64
	spare   int // how many more shards the segment may lose; it is bare at 0
}

type missingKey struct {
	index.Series
	ordinal uint64
	crc     uint32
	shard   int
}

func (m *missing) key() missingKey {
	return missingKey{m.series, m.ordinal, m.crc, m.shard}
}

func (m *missing) ref() catalog.ShardOf {
	return catalog.ShardOf{ShardRef: catalog.ShardRef{Group: m.series.Group, Epoch: m.series.Epoch, Ordinal: m.ordinal, Shard: uint8(m.shard)}, CRC: m.crc}
}

// id is what the log calls the shard.
func (m *missing) id() segment.ID {
	return segment.ID{Group: m.series.Group, UUID: m.series.UUID, Epoch: m.series.Epoch, Ordinal: m.ordinal, Shard: uint8(m.shard), CRC: m.crc}
}

func (m *missing) bare() bool { return m.spare <= 0 }

// newMissing describes shard n of the segment.
func newMissing(sr index.Series, sg *catalog.Segment, n int) *missing {
	others := bits.OnesCount64(sg.Stored &^ (1 << n))
	return &missing{series: sr, ordinal: sg.Ordinal, crc: sg.CRC, shard: n, bytes: int64(sg.ShardSize), spare: others - int(sg.K)}
}

// backlogMost bounds the missing shards that are remembered one by one, at
// about 150 bytes each; what is beyond it is found again by the next sweep.
const backlogMost = 1 << 16

// backlog is what is missing, the most urgent first: what can lose the fewest
// further shards, then what is older.
type backlog struct {
	heap  missingHeap
	known map[missingKey]bool

	segments, bare int
	bytes          int64
	over           int // forgotten, because there were too many
}

func newBacklog() *backlog { return &backlog{known: map[missingKey]bool{}} }

func (b *backlog) add(m *missing) {
	if b.known[m.key()] {
		return
	}
	b.segments++
	b.bytes += m.bytes
	if m.bare() {
		b.bare++
	}
	if len(b.heap) >= backlogMost && !m.bare() {
		b.over++
		return
	}
	b.known[m.key()] = true
	heap.Push(&b.heap, m)
}

// take returns the most urgent, or nil. It stays counted until settled.
func (b *backlog) take() *missing {
	if len(b.heap) == 0 {
		return nil
	}
	return heap.Pop(&b.heap).(*missing)
}

// settled says that m is rebuilt, or not missing after all.
func (b *backlog) settled(m *missing) {
	delete(b.known, m.key())
	b.segments--
	b.bytes -= m.bytes
	if m.bare() {
		b.bare--
	}
}

type missingHeap []*missing

func (h missingHeap) Len() int { return len(h) }

func (h missingHeap) Less(i, j int) bool {
	a, b := h[i], h[j]
	return cmp.Or(cmp.Compare(max(0, a.spare), max(0, b.spare)), cmp.Compare(a.series.Epoch, b.series.Epoch),
		cmp.Compare(a.ordinal, b.ordinal), cmp.Compare(a.series.Group, b.series.Group)) < 0
}

func (h missingHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *missingHeap) Push(x any)   { *h = append(*h, x.(*missing)) }

func (h *missingHeap) Pop() any {
	old := *h
	n := len(old) - 1
	x := old[n]
	old[n], *h = nil, old[:n]
	return x
}
