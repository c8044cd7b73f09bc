package target

import (
	"encoding/binary"
	"encoding/json"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// The methods that nodes call on one another. Bodies are a length (4 bytes,
// little endian), that many bytes of JSON, and then plain bytes.
const (
	methodPing    = "target.ping"    // is the store there
	methodPut     = "target.put"     // putRequest, head, shard -> durable
	methodRead    = "target.read"    // readRequest -> verified bytes of a shard
	methodHead    = "target.head"    // readRequest -> verified head
	methodContact = "target.contact" // contacts of the groups that the caller owns
	methodSpace   = "target.space"   // bytes that the node has left
	methodLeases  = "target.leases"  // leaseRequest -> the points of a group that are open
)

const maxMeta = 1 << 20

type putRequest struct {
	ID      segment.ID
	K, M    uint8
	Size    uint32
	HeadLen uint32
}

type readRequest struct {
	ID     segment.ID
	Off, N uint32
	Repair bool // may wait: other work goes first
}

// encodeMeta returns the length and the JSON of v.
func encodeMeta(v any) []byte {
	j, err := json.Marshal(v)
	if err != nil {
		panic(err) // only our own plain structs get here
	}
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(j))), j...)
}

// decodeMeta reads the JSON into v and returns the bytes behind it.
func decodeMeta(b []byte, v any) ([]byte, error) {
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
