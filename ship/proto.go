package ship

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Frames of the protocol redoubt-ship/1. s = from the sender, r = from the
// receiver. Numbers are little-endian and never used again.
const (
	frameHello     uint8 = 1 // s: Hello as JSON
	frameWelcome   uint8 = 2 // r: Welcome as JSON
	frameBegin     uint8 = 3 // s: start LSN u64
	frameDelta     uint8 = 4 // s: an encoded Delta
	frameAck       uint8 = 5 // r: committed position, epoch u64, LSN u64
	frameError     uint8 = 6 // r: wire.EncodeError, then the end
	frameHeartbeat uint8 = 7 // s: head LSN u64, its time i64, sender's clock i64
	frameAlive     uint8 = 8 // r: nothing
	frameDirty     uint8 = 9 // r: disk u16, offset u64, length u64, repeated
	frameDirtyEnd  uint8 = 10
	frameWhole     uint8 = 11 // r: fully redundant position, epoch u64, LSN u64; only if both sides said Whole
	frameNotice    uint8 = 12 // r: nothing: there is news, ask for a Welcome; only if Hello said Notices
)

// Caps of frame bodies in bytes.
const (
	maxHello = 1 << 20
	// maxControl is that of everything that a receiver sends after Welcome.
	maxControl = 64 << 10
	dirtyLen   = 18
)

// maxDirty bounds the extents that a sender takes from a receiver: 16 Mi
// extents are 64 GiB of scattered 4 KiB changes and 384 MiB of memory.
const maxDirty = 16 << 20

func tag() wire.Tag { return wire.Tag{'S', 'H', 'I', 'P'} }

func badFrame(what string) error {
	return &redoubt.Error{Op: "read frame", Err: fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt)}
}

func encodeJSON(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err == nil && len(b) > maxHello {
		err = fmt.Errorf("%d bytes are too many: %w", len(b), redoubt.ErrInvalid)
	}
	return b, err
}

func decodeJSON[T any](b []byte) (v T, err error) {
	if err := json.Unmarshal(b, &v); err != nil {
		return v, badFrame(err.Error())
	}
	return v, nil
}

func encodeNumbers(v ...uint64) []byte {
	b := make([]byte, 0, 8*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint64(b, x)
	}
	return b
}

func decodeNumbers(b []byte, n int) ([]uint64, error) {
	if len(b) != 8*n {
		return nil, badFrame(fmt.Sprintf("%d bytes instead of %d", len(b), 8*n))
	}
	out := make([]uint64, n)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return out, nil
}

func appendDirty(b []byte, d redoubt.DiskID, x redoubt.Extent) []byte {
	b = binary.LittleEndian.AppendUint16(b, uint16(d))
	b = binary.LittleEndian.AppendUint64(b, x.Off)
	return binary.LittleEndian.AppendUint64(b, x.Len)
}

// decodeDirty adds the extents in b to m.
func decodeDirty(b []byte, m map[redoubt.DiskID][]redoubt.Extent) (n int, err error) {
	if len(b)%dirtyLen != 0 {
		return 0, badFrame("length of a dirty frame")
	}
	for ; len(b) > 0; b = b[dirtyLen:] {
		d := redoubt.DiskID(binary.LittleEndian.Uint16(b))
		x := redoubt.Extent{Off: binary.LittleEndian.Uint64(b[2:]), Len: binary.LittleEndian.Uint64(b[10:])}
		if d == 0 || x.Empty() || !x.Within(redoubt.MaxDiskSize) {
			return 0, badFrame("dirty extent " + x.String())
		}
		m[d] = append(m[d], x)
		n++
	}
	return n, nil
}
