package segment

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// The footer of a sealed file, version 2. It lists the records by identity, so
// that one is found with one read of a page, and sums them up, so that opening
// reads nothing else.
//
//	head       magic "RDSF" 4 | version 2 | zero 2 | records 4 | pages 4
//	pages      of up to 78 records: CRC32C 4 | records 2 | zero 2 | entries
//	  entry    series 4 | epoch 8 | ordinal 8 | shard 1 | type 1 | k 1 | m 1 | delta CRC 4 |
//	           offset 8 | header length 4 | size 4 | head length 4 | shard length 4
//	directory  the first key of each page: series 4 | epoch 8 | ordinal 8 | shard 1 | zero 3 | delta CRC 4; then CRC32C 4
//	summary    series 4, of each: g 1 | u 1 | group g | UUID u
//	           spans 4, of each: series 4 | epoch 8 | first ordinal 8 | last 8 | shards 4 | tombstones 4 | bytes 8; then CRC32C 4
//	tail       records 4 | pages 4 | directory length 4 | summary length 4 | CRC32C 4
//	CRC32C     4, of all before
//
// The CRCs of pages, directory, summary and tail start with that of the file
// number and the part's number, so none is taken for that of another place.
const (
	footerVersion = 2
	footerHead    = 16
	pageHead      = 8
	entryLen      = 52
	pageEntries   = 78
	pageLen       = pageHead + pageEntries*entryLen
	keyLen        = 28
	spanLen       = 44
	tailLen       = 20
	footerFixed   = footerHead + tailLen + 4

	partDirectory = -1
	partSummary   = -2
	partTail      = -3

	// A series' ordinals in a file are told as up to maxSpans spans, cut where more than spanGap in a row are elsewhere.
	maxSpans = 8
	spanGap  = 1024
)

// geometry says where the parts of a footer lie.
type geometry struct {
	off            int64 // of the footer in the file
	records, pages uint32
	dirLen, sumLen uint32
}

func (g *geometry) pagesLen() int64 {
	return int64(g.pages)*pageHead + int64(g.records)*entryLen
}

func (g *geometry) length() int64 {
	return footerFixed + g.pagesLen() + int64(g.dirLen) + int64(g.sumLen)
}

// page returns where page i begins in the footer, and its length.
func (g *geometry) page(i int) (off int64, n int) {
	return footerHead + int64(i)*pageLen, pageHead + entryLen*min(pageEntries, int(g.records)-i*pageEntries)
}

func (g *geometry) directory() (off int64, n int) {
	return footerHead + g.pagesLen(), int(g.dirLen) + int(g.sumLen)
}

func (g *geometry) valid() bool {
	return g.pages == (g.records+pageEntries-1)/pageEntries && g.dirLen == g.pages*keyLen+4 && g.sumLen >= 12
}

// span says that the file holds records of the ordinals lo to hi of a series.
type span struct {
	series        uint32 // in the summary's order
	epoch         redoubt.Epoch
	lo, hi        uint64
	shards, tombs uint32
	bytes         int64 // of the shards' records
}

// summary is what a footer says of the file as a whole.
type summary struct {
	series []seriesName // sorted
	spans  []span
}

func (s *summary) totals() (shards, tombs int, bytes int64) {
	for i := range s.spans {
		shards, tombs, bytes = shards+int(s.spans[i].shards), tombs+int(s.spans[i].tombs), bytes+s.spans[i].bytes
	}
	return shards, tombs, bytes
}

func (a seriesName) compare(b seriesName) int {
	return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.uuid, b.uuid))
}

func (h *header) name() seriesName { return seriesName{h.Group, h.UUID} }

func partSum(file uint64, part int, b []byte) uint32 {
	var seed [12]byte
	binary.LittleEndian.PutUint64(seed[:], file)
	binary.LittleEndian.PutUint32(seed[8:], uint32(int32(part)))
	return redoubt.ChecksumUpdate(redoubt.Checksum(seed[:]), b)
}

// footer is an encoded footer with what it says.
type footer struct {
	bytes []byte
	geometry
	summary
	sorted []*header // in the order of the pages
}

// encodeFooter lists hs, the records of a file, for the place off in it.
func encodeFooter(file uint64, off int64, hs []*header) *footer {
	t := &footer{sorted: slices.Clone(hs)}
	slices.SortFunc(t.sorted, func(a, b *header) int {
		return cmp.Or(a.name().compare(b.name()), cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Ordinal, b.Ordinal),
			cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.CRC, b.CRC), cmp.Compare(a.Offset, b.Offset))
	})
	t.off, t.records, t.pages = off, uint32(len(hs)), uint32((len(hs)+pageEntries-1)/pageEntries)
	series := make([]uint32, len(hs))
	for i, h := range t.sorted {
		if n := len(t.series); n == 0 || t.series[n-1] != h.name() {
			t.series = append(t.series, h.name())
		}
		series[i] = uint32(len(t.series) - 1)
	}
	t.spans = spansOf(t.sorted, series)

	le := binary.LittleEndian
	b := append(make([]byte, 0, footerFixed+int(t.pagesLen())+int(t.pages)*keyLen+64*len(t.series)+spanLen*len(t.spans)+16), footerMagic...)
	b = le.AppendUint16(b, footerVersion)
	b = append(b, 0, 0)
	b = le.AppendUint32(b, t.records)
	b = le.AppendUint32(b, t.pages)
	var dir []byte
	for p := range int(t.pages) {
		from := p * pageEntries
		to := min(from+pageEntries, len(t.sorted))
		start := len(b)
		b = append(b, 0, 0, 0, 0)
		b = le.AppendUint16(b, uint16(to-from))
		b = append(b, 0, 0)
		for i := from; i < to; i++ {
			b = appendEntry(b, t.sorted[i], series[i])
		}
		le.PutUint32(b[start:], partSum(file, p, b[start+4:]))
		dir = appendKey(dir, keyOf(&t.sorted[from].ID, series[from]))
	}
	dir = le.AppendUint32(dir, partSum(file, partDirectory, dir))
	sum := t.encodeSummary()
	sum = le.AppendUint32(sum, partSum(file, partSummary, sum))
	t.dirLen, t.sumLen = uint32(len(dir)), uint32(len(sum))
	b = append(append(b, dir...), sum...)
	b = append(b, t.encodeTail(file)...)
	t.bytes = le.AppendUint32(b, redoubt.Checksum(b))
	return t
}

func appendEntry(b []byte, h *header, series uint32) []byte {
	le := binary.LittleEndian
	b = le.AppendUint32(b, series)
	b = le.AppendUint64(b, uint64(h.Epoch))
	b = le.AppendUint64(b, h.Ordinal)
	b = append(b, h.Shard, h.Type, h.K, h.M)
	b = le.AppendUint32(b, h.CRC)
	b = le.AppendUint64(b, uint64(h.Offset))
	for _, v := range []uint32{h.Len, h.Size, h.HeadLen, h.ShardLen} {
		b = le.AppendUint32(b, v)
	}
	return b
}

// decodeEntry reads an entry without its names.
func decodeEntry(b []byte, file uint64) (h header, series uint32, err error) {
	le := binary.LittleEndian
	h = header{Type: b[21], K: b[22], M: b[23], File: file, Offset: int64(le.Uint64(b[28:])), Len: le.Uint32(b[36:]),
		Size: le.Uint32(b[40:]), HeadLen: le.Uint32(b[44:]), ShardLen: le.Uint32(b[48:]), ChunkSize: chunkSize}
	h.Epoch, h.Ordinal, h.Shard, h.CRC = redoubt.Epoch(le.Uint64(b[4:])), le.Uint64(b[12:]), b[20], le.Uint32(b[24:])
	if h.Len > maxHeader || h.HeadLen > MaxHead || h.ShardLen > MaxShard || h.Offset < sector || h.Type != typeShard && h.Type != typeTombstone {
		return h, 0, corrupt("footer entry")
	}
	return h, le.Uint32(b), nil
}

// checkPage verifies page i and returns its entries.
func checkPage(b []byte, file uint64, i int) ([]byte, error) {
	le := binary.LittleEndian
	if len(b) < pageHead || le.Uint32(b) != partSum(file, i, b[4:]) || pageHead+int(le.Uint16(b[4:]))*entryLen != len(b) {
		return nil, corrupt(fmt.Sprintf("footer page %d", i))
	}
	return b[pageHead:], nil
}

func (g *geometry) encodeTail(file uint64) []byte {
	le := binary.LittleEndian
	var b []byte
	for _, v := range []uint32{g.records, g.pages, g.dirLen, g.sumLen} {
		b = le.AppendUint32(b, v)
	}
	return le.AppendUint32(b, partSum(file, partTail, b))
}

// decodeTail reads the tail of a footer of n bytes at off; ok is false if
// there is none.
func decodeTail(b []byte, file uint64, off, n int64) (g geometry, ok bool) {
	le := binary.LittleEndian
	if len(b) != tailLen || le.Uint32(b[16:]) != partSum(file, partTail, b[:16]) {
		return g, false
	}
	g = geometry{off: off, records: le.Uint32(b), pages: le.Uint32(b[4:]), dirLen: le.Uint32(b[8:]), sumLen: le.Uint32(b[12:])}
	return g, g.valid() && g.length() == n
}

// decodeFooter reads a whole footer that lies at off and checks that its parts
// agree. The records come in the order of the file, without chunk checksums.
func decodeFooter(b []byte, file uint64, off int64) ([]*header, error) {
	le := binary.LittleEndian
	if len(b) < footerFixed || string(b[:4]) != footerMagic || le.Uint32(b[len(b)-4:]) != redoubt.Checksum(b[:len(b)-4]) {
		return nil, corrupt("footer")
	}
	if v := le.Uint16(b[4:]); v != footerVersion {
		return nil, fmt.Errorf("footer version %d: %w", v, redoubt.ErrVersion)
	}
	g, ok := decodeTail(b[len(b)-tailLen-4:len(b)-4], file, off, int64(len(b)))
	if !ok {
		return nil, corrupt("footer tail")
	}
	at, n := g.directory()
	d, err := decodeDirectory(b[at:at+int64(n)], file, &g)
	if err != nil {
		return nil, err
	}
	hs := make([]*header, 0, g.records)
	for i := range int(g.pages) {
		at, n := g.page(i)
		es, err := checkPage(b[at:at+int64(n)], file, i)
		if err != nil {
			return nil, err
		}
		for ; len(es) > 0; es = es[entryLen:] {
			h, err := d.entry(es, file)
			if err != nil {
				return nil, err
			}
			hs = append(hs, &h)
		}
	}
	if string(encodeFooter(file, off, hs).bytes) != string(b) {
		return nil, corrupt("footer order")
	}
	slices.SortFunc(hs, func(a, b *header) int { return cmp.Compare(a.Offset, b.Offset) })
	return hs, nil
}
