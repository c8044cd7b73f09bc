package compare

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Frames of the protocol redoubt-compare/1. c = from the client, s = from the
// server. Numbers are little-endian and never used again. Each question is
// answered in order, by one frame; alive may come at any time.
const (
	frameOpen     uint8 = 1 // c: Ask as JSON
	frameOpened   uint8 = 2 // s: Opened as JSON
	frameSums     uint8 = 3 // c: slot u8, disk u16, first chunk u64, count u32
	frameRuns     uint8 = 4 // s: runs of chunks; see appendRuns
	frameDetail   uint8 = 5 // c: slot u8, disk u16, then wants: chunk u64, nodes u16
	frameDetailed uint8 = 6 // s: short sums; see answer
	frameError    uint8 = 7 // s: wire.EncodeError; the end
	frameAlive    uint8 = 8 // both: nothing
	frameReport   uint8 = 9 // c: Record as JSON
	frameNoted    uint8 = 10
)

const (
	// WindowChunks is the most chunks of one question.
	WindowChunks = 64
	// slots is how many positions one connection has open.
	slots = 2
	// shortLen is the length of a node's or leaf's sum on the wire: half of a
	// SHA-256, of which nobody can find two alike.
	shortLen = 16

	sumsLen = 15
	wantLen = 10

	maxQuestion = 64 << 10
	maxAnswer   = WindowChunks*(chunkLeafs*shortLen) + 64<<10

	aliveEvery = 5 * time.Second
	// silence of the peer for so long ends a connection.
	silence      = 30 * time.Second
	openTimeout  = 30 * time.Second
	writeTimeout = 20 * time.Second
)

func tag() wire.Tag { return wire.Tag{'C', 'O', 'M', 'P'} }

// Ask opens a group's disks at a position.
type Ask struct {
	Group redoubt.GroupID `json:"group"`
	UUID  string          `json:"uuid"`
	Slot  int             `json:"slot"`
	// At is the position; zero: the newest one, with an LSN of at most Most if
	// that is not 0.
	At   redoubt.Position `json:"at"`
	Most redoubt.LSN      `json:"most,omitempty"`
	// Torn allows a position that is no recovery point: what was stored up to
	// there, perhaps a mixture. It serves to find out what is missing.
	Torn bool `json:"torn,omitempty"`
}

// Opened answers an Ask.
type Opened struct {
	At    redoubt.Position `json:"at"`
	Disks []redoubt.Disk   `json:"disks"`
}

// want asks for the sums inside of one chunk: those of its nodes if nodes is 0,
// and those of the leaves of the nodes whose bit is set otherwise.
type want struct {
	chunk uint64
	nodes uint16
}

// sumsAsked is a question for the sums of whole chunks.
type sumsAsked struct {
	slot  uint8
	disk  redoubt.DiskID
	first uint64
	count uint32
}

func badFrame(format string, args ...any) error {
	return &redoubt.Error{Op: "read frame", Err: fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), redoubt.ErrCorrupt)}
}

func decodeJSON[T any](b []byte) (v T, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		return v, badFrame("%v", err)
	}
	return v, nil
}

func (q sumsAsked) encode() []byte {
	b := binary.LittleEndian.AppendUint16([]byte{q.slot}, uint16(q.disk))
	b = binary.LittleEndian.AppendUint64(b, q.first)
	return binary.LittleEndian.AppendUint32(b, q.count)
}

func decodeSums(b []byte) (q sumsAsked, err error) {
	if len(b) != sumsLen {
		return q, badFrame("a question of %d bytes", len(b))
	}
	q = sumsAsked{slot: b[0], disk: redoubt.DiskID(binary.LittleEndian.Uint16(b[1:])), first: binary.LittleEndian.Uint64(b[3:]), count: binary.LittleEndian.Uint32(b[11:])}
	if q.slot >= slots || q.count == 0 || q.count > WindowChunks || q.first > redoubt.MaxDiskSize/ChunkSize {
		return q, badFrame("%d chunks from %d on", q.count, q.first)
	}
	return q, nil
}

func encodeWants(slot uint8, d redoubt.DiskID, ws []want) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{slot}, uint16(d))
	for _, w := range ws {
		b = binary.LittleEndian.AppendUint64(b, w.chunk)
		b = binary.LittleEndian.AppendUint16(b, w.nodes)
	}
	return b
}

func decodeWants(b []byte) (slot uint8, d redoubt.DiskID, ws []want, err error) {
	if len(b) < 3+wantLen || (len(b)-3)%wantLen != 0 || len(b) > 3+WindowChunks*wantLen || b[0] >= slots {
		return 0, 0, nil, badFrame("a question of %d bytes", len(b))
	}
	slot, d = b[0], redoubt.DiskID(binary.LittleEndian.Uint16(b[1:]))
	for b = b[3:]; len(b) > 0; b = b[wantLen:] {
		w := want{binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint16(b[8:])}
		if w.chunk > redoubt.MaxDiskSize/ChunkSize {
			return 0, 0, nil, badFrame("chunk %d", w.chunk)
		}
		ws = append(ws, w)
	}
	return slot, d, ws, nil
}

// Runs of chunks: kind u8 (0: zeros, 1: sums follow), count u32, then the sums.
const (
	runZeros byte = 0
	runSums  byte = 1
	runHead       = 5
)

// appendRuns encodes sums, of which those that equal zero take no room.
func appendRuns(b []byte, sums []Sum, zero Sum) []byte {
	for len(sums) > 0 {
		n, zeros := 0, sums[0] == zero
		for n < len(sums) && (sums[n] == zero) == zeros {
			n++
		}
		kind := runSums
		if zeros {
			kind = runZeros
		}
		b = binary.LittleEndian.AppendUint32(append(b, kind), uint32(n))
		if !zeros {
			for i := range sums[:n] {
				b = append(b, sums[i][:]...)
			}
		}
		sums = sums[n:]
	}
	return b
}

// decodeRuns fills out with the sums in b, which must be exactly as many.
func decodeRuns(b []byte, zero Sum, out []Sum) error {
	for len(b) >= runHead {
		kind, n := b[0], binary.LittleEndian.Uint32(b[1:])
		b = b[runHead:]
		if n == 0 || uint64(n) > uint64(len(out)) || kind > runSums || kind == runSums && uint64(len(b)) < uint64(n)*uint64(len(zero)) {
			return badFrame("a run of %d chunks", n)
		}
		for i := range out[:n] {
			if out[i] = zero; kind == runSums {
				b = b[copy(out[i][:], b):]
			}
		}
		out = out[n:]
	}
	if len(b) != 0 || len(out) != 0 {
		return badFrame("%d chunks have no sum", len(out))
	}
	return nil
}

// short is a sum as it goes over the wire.
type short [shortLen]byte

func (s *Sum) short() (out short) { return short(s[:shortLen]) }

// answer appends what w asks for of t.
func answer(b []byte, w want, t *Tree) []byte {
	if w.nodes == 0 {
		for i := range t.nodes {
			b = append(b, t.nodes[i][:shortLen]...)
		}
		return b
	}
	for i := range fanOut {
		if w.nodes&(1<<i) != 0 {
			for j := range fanOut {
				b = append(b, t.leaves[i*fanOut+j][:shortLen]...)
			}
		}
	}
	return b
}

// answerLen is the length in bytes of the answer to w.
func (w want) answerLen() int {
	if w.nodes == 0 {
		return fanOut * shortLen
	}
	n := 0
	for v := w.nodes; v != 0; v &= v - 1 {
		n++
	}
	return n * fanOut * shortLen
}
