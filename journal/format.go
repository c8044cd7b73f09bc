package journal

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// A segment file is a sequence of pages:
//
//	+--------+---------------------+---------------------+-- ... --+--------+
//	| header | batch               | batch               |  free   | footer |
//	| 1 page | head page + payload | head page + payload |         | 1 page |
//	+--------+---------------------+---------------------+-- ... --+--------+
//	0        4096                                                  size-4096
//
// All numbers are little endian. Every page below begins with the same 40
// bytes, so that a stale page of a recycled file is never taken for a new one:
//
//	 0 magic [8]   8 version u32   12 CRC32C u32 of the page with this field 0
//	16 journal id [16]            32 seq u64: the use of the file, never used again
const (
	pageSize = 4096
	version  = 1

	offVersion = 8
	offCRC     = 12
	offID      = 16
	offSeq     = 32
	offRest    = 40

	magicSegment = "RDBTJSEG"
	magicBatch   = "RDBTJBAT"
	magicFooter  = "RDBTJEND"
)

var le = binary.LittleEndian

// journalID tells the files of one journal from those of all others.
type journalID [16]byte

// sealPage fills in the common fields and the checksum of a page.
func sealPage(p []byte, magic string, id journalID, seq uint64) {
	copy(p, magic)
	le.PutUint32(p[offVersion:], version)
	le.PutUint32(p[offCRC:], 0)
	copy(p[offID:], id[:])
	le.PutUint64(p[offSeq:], seq)
	le.PutUint32(p[offCRC:], pageCRC(p))
}

var zeroCRC [4]byte

func pageCRC(p []byte) uint32 {
	c := redoubt.Checksum(p[:offCRC])
	c = redoubt.ChecksumUpdate(c, zeroCRC[:])
	return redoubt.ChecksumUpdate(c, p[offCRC+4:pageSize])
}

// openPage checks the common fields of a page and returns its journal and seq.
func openPage(p []byte, magic string) (id journalID, seq uint64, err error) {
	if len(p) < pageSize || string(p[:8]) != magic {
		return id, 0, fmt.Errorf("no %s page: %w", magic, redoubt.ErrCorrupt)
	}
	if le.Uint32(p[offCRC:]) != pageCRC(p) {
		return id, 0, fmt.Errorf("checksum of a %s page: %w", magic, redoubt.ErrCorrupt)
	}
	if v := le.Uint32(p[offVersion:]); v != version {
		return id, 0, fmt.Errorf("%s version %d: %w", magic, v, redoubt.ErrVersion)
	}
	copy(id[:], p[offID:])
	return id, le.Uint64(p[offSeq:]), nil
}

// The head page of a batch:
//
//	40 offset u64 of this page in its file     48 incarnation u64
//	56 epoch u64                               64 first LSN u64
//	72 durable LSN u64 when it was written     80 length u32 of the batch with both pads
//	84 payload u32 bytes                       88 count u16   90 flags u16   92 zero
//	96 count descriptors of 40 bytes:
//	   0 time i64   8 offset u64   16 length u64   24 data length u32   28 data CRC32C u32
//	  32 LSN - first LSN u32   36 disk u16   38 kind u8   39 zero
//
// The data of the records follows the page in their order, without gaps,
// padded with zeros to a whole page. A batch without records marks an open:
// it cuts off what an earlier incarnation may have left behind it.
const (
	descOff  = 96
	descSize = 40
	// maxBatch is the most records of one batch.
	maxBatch = (pageSize - descOff) / descSize
	// maxPayload bounds the data of one batch; one record always fits.
	maxPayload = 1 << 20

	// flagMore: the LSN of the last record goes on in the next batch, and
	// without it this batch does not count either (a record is whole or absent).
	flagMore = 1
	// flagPart: the first record goes on with the last LSN of the batch before.
	flagPart = 2
)

// batchHead is the decoded head page of a batch.
type batchHead struct {
	seq         uint64
	off         int64
	incarnation uint64
	epoch       redoubt.Epoch
	first       redoubt.LSN
	durable     redoubt.LSN
	length      int64
	payload     int64
	count       int
	more        bool
	part        bool
	page        []byte
}

// last returns the LSN of the last record; first-1 for an empty batch.
func (h *batchHead) last() redoubt.LSN {
	if h.count == 0 {
		return h.first - 1
	}
	return h.first + redoubt.LSN(le.Uint32(h.desc(h.count - 1)[32:]))
}

func (h *batchHead) desc(i int) []byte {
	return h.page[descOff+i*descSize : descOff+(i+1)*descSize]
}

// timeOf returns the time of record i.
func (h *batchHead) timeOf(i int) int64 { return int64(le.Uint64(h.desc(i))) }

// write decodes record i, without its data, and returns the length of that.
func (h *batchHead) write(i int, w *redoubt.Write) (dataLen int) {
	d := h.desc(i)
	w.Time = int64(le.Uint64(d))
	w.Extent = redoubt.Extent{Off: le.Uint64(d[8:]), Len: le.Uint64(d[16:])}
	w.CRC = le.Uint32(d[28:])
	w.LSN = h.first + redoubt.LSN(le.Uint32(d[32:]))
	w.Disk = redoubt.DiskID(le.Uint16(d[36:]))
	w.Kind = redoubt.Kind(d[38])
	w.Data = nil
	return int(le.Uint32(d[24:]))
}

// putDesc encodes the descriptor of w into d.
func putDesc(d []byte, first redoubt.LSN, w *redoubt.Write) {
	le.PutUint64(d, uint64(w.Time))
	le.PutUint64(d[8:], w.Extent.Off)
	le.PutUint64(d[16:], w.Extent.Len)
	le.PutUint32(d[24:], uint32(len(w.Data)))
	le.PutUint32(d[28:], w.CRC)
	le.PutUint32(d[32:], uint32(w.LSN-first))
	le.PutUint16(d[36:], uint16(w.Disk))
	d[38] = byte(w.Kind)
	d[39] = 0
}

// encode writes the head page for ws into p, which has pageSize bytes.
func (h *batchHead) encode(p []byte, id journalID, ws []redoubt.Write) {
	clear(p)
	le.PutUint64(p[40:], uint64(h.off))
	le.PutUint64(p[48:], h.incarnation)
	le.PutUint64(p[56:], uint64(h.epoch))
	le.PutUint64(p[64:], uint64(h.first))
	le.PutUint64(p[72:], uint64(h.durable))
	le.PutUint32(p[80:], uint32(h.length))
	le.PutUint32(p[84:], uint32(h.payload))
	le.PutUint16(p[88:], uint16(len(ws)))
	le.PutUint16(p[90:], flags(h.more, h.part))
	for i := range ws {
		putDesc(p[descOff+i*descSize:], h.first, &ws[i])
	}
	sealPage(p, magicBatch, id, h.seq)
}

func flags(more, part bool) (f uint16) {
	if more {
		f |= flagMore
	}
	if part {
		f |= flagPart
	}
	return f
}

// decodeBatch checks a head page and all that it says of itself. The result
// refers to p.
func decodeBatch(p []byte) (h batchHead, id journalID, err error) {
	id, seq, err := openPage(p, magicBatch)
	if err != nil {
		return h, id, err
	}
	h = batchHead{
		seq: seq, off: int64(le.Uint64(p[40:])), incarnation: le.Uint64(p[48:]),
		epoch: redoubt.Epoch(le.Uint64(p[56:])), first: redoubt.LSN(le.Uint64(p[64:])), durable: redoubt.LSN(le.Uint64(p[72:])),
		length: int64(le.Uint32(p[80:])), payload: int64(le.Uint32(p[84:])), count: int(le.Uint16(p[88:])), more: le.Uint16(p[90:])&flagMore != 0, part: le.Uint16(p[90:])&flagPart != 0,
		page: p[:pageSize],
	}
	bad := func(what string) (batchHead, journalID, error) {
		return h, id, fmt.Errorf("batch head at %d: %s: %w", h.off, what, redoubt.ErrCorrupt)
	}
	switch {
	case h.count > maxBatch || h.first == 0 || h.count == 0 && (h.payload != 0 || h.more || h.part):
		return bad("count or LSN out of bounds")
	case h.payload > maxPayload || h.length != pageSize+padded(h.payload):
		return bad("length out of bounds")
	case h.off < pageSize || h.off%pageSize != 0:
		return bad("offset out of bounds")
	}
	sum, delta := int64(0), uint32(0)
	for i := range h.count {
		d := h.desc(i)
		n, k := le.Uint32(d[32:]), redoubt.Kind(d[38])
		if n > delta+1 || n < delta || i == 0 && n != 0 {
			return bad("LSNs are not in order")
		}
		if !k.Valid() {
			return h, id, fmt.Errorf("batch head at %d: kind %d: %w", h.off, d[38], redoubt.ErrVersion)
		}
		if le.Uint32(d[24:]) > redoubt.MaxWriteData {
			return bad("data too long")
		}
		delta, sum = n, sum+int64(le.Uint32(d[24:]))
	}
	if sum != h.payload {
		return bad("payload does not add up")
	}
	return h, id, nil
}

// padded rounds n up to whole pages.
func padded(n int64) int64 { return (n + pageSize - 1) &^ (pageSize - 1) }
