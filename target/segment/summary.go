package segment

import (
	"cmp"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// spansOf sums up sorted records; series are the numbers of theirs.
func spansOf(sorted []*header, series []uint32) (out []span) {
	for from := 0; from < len(sorted); {
		to := from + 1
		for to < len(sorted) && series[to] == series[from] && sorted[to].Epoch == sorted[from].Epoch {
			to++
		}
		for _, cut := range cuts(sorted[from:to]) {
			out = append(out, spanOf(sorted[from:from+cut], series[from]))
			from += cut
		}
	}
	return out
}

// cuts returns the lengths of the spans of one epoch: they are parted at the
// widest gaps.
func cuts(hs []*header) []int {
	var gaps []int // where a span may begin
	for i := 1; i < len(hs); i++ {
		if hs[i].Ordinal-hs[i-1].Ordinal > spanGap {
			gaps = append(gaps, i)
		}
	}
	width := func(i int) uint64 { return hs[i].Ordinal - hs[i-1].Ordinal }
	slices.SortStableFunc(gaps, func(a, b int) int { return cmp.Compare(width(b), width(a)) })
	gaps = append(slices.Sorted(slices.Values(gaps[:min(len(gaps), maxSpans-1)])), len(hs))
	last := 0
	for i, g := range gaps {
		gaps[i], last = g-last, g
	}
	return gaps
}

func spanOf(hs []*header, series uint32) span {
	s := span{series: series, epoch: hs[0].Epoch, lo: hs[0].Ordinal, hi: hs[len(hs)-1].Ordinal}
	for _, h := range hs {
		if h.Type == typeTombstone {
			s.tombs++
		} else {
			s.shards++
			s.bytes += h.total()
		}
	}
	return s
}

func (s *summary) encodeSummary() []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(s.series)))
	for _, n := range s.series {
		b = append(b, uint8(len(n.group)), uint8(len(n.uuid)))
		b = append(append(b, n.group...), n.uuid...)
	}
	b = le.AppendUint32(b, uint32(len(s.spans)))
	for _, p := range s.spans {
		b = le.AppendUint32(b, p.series)
		for _, v := range []uint64{uint64(p.epoch), p.lo, p.hi} {
			b = le.AppendUint64(b, v)
		}
		b = le.AppendUint32(b, p.shards)
		b = le.AppendUint32(b, p.tombs)
		b = le.AppendUint64(b, uint64(p.bytes))
	}
	return b
}

// decodeSummary reads a summary with its checksum.
func decodeSummary(b []byte, file uint64) (*summary, error) {
	le := binary.LittleEndian
	if len(b) < 12 || le.Uint32(b[len(b)-4:]) != partSum(file, partSummary, b[:len(b)-4]) {
		return nil, corrupt("footer summary")
	}
	n := int(le.Uint32(b))
	b = b[4 : len(b)-4]
	if n > len(b)/2 {
		return nil, corrupt("footer series")
	}
	s := &summary{series: make([]seriesName, 0, n)}
	for range n {
		if len(b) < 2 || len(b) < 2+int(b[0])+int(b[1]) {
			return nil, corrupt("footer series")
		}
		g, u := int(b[0]), int(b[1])
		name := seriesName{redoubt.GroupID(b[2 : 2+g]), string(b[2+g : 2+g+u])}
		if (ID{Group: name.group, UUID: name.uuid}).validate() != nil {
			return nil, corrupt("footer series")
		}
		s.series = append(s.series, name)
		b = b[2+g+u:]
	}
	if len(b) < 4 || int64(le.Uint32(b))*spanLen != int64(len(b)-4) {
		return nil, corrupt("footer spans")
	}
	for b = b[4:]; len(b) > 0; b = b[spanLen:] {
		p := span{series: le.Uint32(b), epoch: redoubt.Epoch(le.Uint64(b[4:])), lo: le.Uint64(b[12:]), hi: le.Uint64(b[20:]),
			shards: le.Uint32(b[28:]), tombs: le.Uint32(b[32:]), bytes: int64(le.Uint64(b[36:]))}
		if int(p.series) >= n || p.lo > p.hi || p.bytes < 0 {
			return nil, corrupt("footer span")
		}
		s.spans = append(s.spans, p)
	}
	return s, nil
}

// key is an ID with a number in place of the names: the Log's, or that of a
// footer, which is sorted by it.
type key struct {
	series  uint32
	crc     uint32
	epoch   redoubt.Epoch
	ordinal uint64
	shard   uint8
}

func keyOf(id *ID, series uint32) key {
	return key{series: series, crc: id.CRC, epoch: id.Epoch, ordinal: id.Ordinal, shard: id.Shard}
}

func (k key) compare(o key) int {
	return cmp.Or(cmp.Compare(k.series, o.series), cmp.Compare(k.epoch, o.epoch), cmp.Compare(k.ordinal, o.ordinal), cmp.Compare(k.shard, o.shard), cmp.Compare(k.crc, o.crc))
}

func appendKey(b []byte, k key) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, k.series)
	b = le.AppendUint64(b, uint64(k.epoch))
	b = le.AppendUint64(b, k.ordinal)
	b = append(b, k.shard, 0, 0, 0)
	return le.AppendUint32(b, k.crc)
}

// readKey reads the key that begins an entry of a page, or of the directory.
func readKey(b []byte) key {
	le := binary.LittleEndian
	return key{series: le.Uint32(b), epoch: redoubt.Epoch(le.Uint64(b[4:])), ordinal: le.Uint64(b[12:]), shard: b[20], crc: le.Uint32(b[24:])}
}

// directory finds the page of a record.
type directory struct {
	summary
	keys []byte // the first of each page
}

func decodeDirectory(b []byte, file uint64, g *geometry) (*directory, error) {
	keys := b[:g.dirLen-4]
	if binary.LittleEndian.Uint32(b[len(keys):]) != partSum(file, partDirectory, keys) {
		return nil, corrupt("footer directory")
	}
	s, err := decodeSummary(b[g.dirLen:], file)
	if err != nil {
		return nil, err
	}
	return &directory{*s, keys}, nil
}

func (d *directory) size() int64 {
	n := int64(128 + len(d.keys) + spanLen*len(d.spans))
	for _, s := range d.series {
		n += int64(32 + len(s.group) + len(s.uuid))
	}
	return n
}

// key returns what id's records are listed under; ok is false if there are none of its series.
func (d *directory) key(id *ID) (k key, ok bool) {
	i, ok := slices.BinarySearchFunc(d.series, seriesName{id.Group, id.UUID}, seriesName.compare)
	return keyOf(id, uint32(i)), ok
}

// page returns the last page that may list k, or -1.
func (d *directory) page(k key) int {
	return sort.Search(len(d.keys)/keyLen, func(i int) bool { return readKey(d.keys[i*keyLen:]).compare(k) > 0 }) - 1
}

// entry decodes an entry with its names.
func (d *directory) entry(b []byte, file uint64) (header, error) {
	h, s, err := decodeEntry(b, file)
	if err == nil && int(s) >= len(d.series) {
		err = corrupt("footer entry")
	}
	if err == nil {
		h.Group, h.UUID = d.series[s].group, d.series[s].uuid
	}
	return h, err
}
