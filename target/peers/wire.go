package peers

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// maxMeta bounds the JSON in a body, in bytes.
const maxMeta = 1 << 20

// Encode returns the beginning of a body: the length of the JSON of v (4 bytes,
// little endian) and the JSON. Plain bytes may follow. v is one of our own plain structs.
func Encode(v any) []byte {
	j, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own plain structs get here
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(j))), j...)
}

// Decode reads the JSON, of at most 1 MiB, into v and returns the bytes behind it.
// ErrCorrupt: that is not what the body holds.
func Decode(b []byte, v any) ([]byte, error) {
	if len(b) < 4 {
		return nil, fmt.Errorf("short request: %w", redoubt.ErrCorrupt)
	}
	n := binary.LittleEndian.Uint32(b)
	if n > maxMeta || uint64(n) > uint64(len(b)-4) {
		return nil, fmt.Errorf("request of %d bytes says %d: %w", len(b), n, redoubt.ErrCorrupt)
	}
	if err := json.Unmarshal(b[4:4+n], v); err != nil {
		return nil, fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt)
	}
	return b[4+n:], nil
}
