package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// ID names one shard of one segment. CRC is the checksum of the whole encoded
// delta: two owners may, one after the other, have put different deltas at the
// same ordinal, of which the catalog committed one.
type ID struct {
	Group   redoubt.GroupID
	UUID    string // of the group; a name may be used again, a UUID not
	Epoch   redoubt.Epoch
	Ordinal uint64
	Shard   uint8
	CRC     uint32
}

// String returns "GROUP/EPOCH/ORDINAL.SHARD#CRC".
func (id ID) String() string {
	return fmt.Sprintf("%s/%d/%d.%d#%08x", id.Group, id.Epoch, id.Ordinal, id.Shard, id.CRC)
}

func (id ID) validate() error {
	if err := redoubt.ValidName("group", string(id.Group)); err != nil {
		return err
	}
	if len(id.UUID) > maxUUID {
		return &redoubt.Error{Op: "check shard", Object: id.String(), Err: fmt.Errorf("UUID of %d bytes: %w", len(id.UUID), redoubt.ErrInvalid)}
	}
	return nil
}

// bind returns the checksum state with which every chunk of the shard begins.
func (id ID) bind() uint32 {
	b := make([]byte, 0, 160)
	b = append(b, id.Group...)
	b = append(b, 0)
	b = append(b, id.UUID...)
	b = append(b, 0, id.Shard)
	b = binary.LittleEndian.AppendUint64(b, uint64(id.Epoch))
	b = binary.LittleEndian.AppendUint64(b, id.Ordinal)
	b = binary.LittleEndian.AppendUint32(b, id.CRC)
	return redoubt.Checksum(b)
}

// ChunkSum returns the checksum of chunk number n of the shard id.
func ChunkSum(id ID, n int, chunk []byte) uint32 { return chunkSum(id.bind(), n, chunk) }

func chunkSum(bind uint32, n int, chunk []byte) uint32 {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], uint32(n))
	return redoubt.ChecksumUpdate(redoubt.ChecksumUpdate(bind, b[:]), chunk)
}

// Shard is what Put stores.
type Shard struct {
	ID
	K, M uint8
	Size uint32 // bytes of the encoded delta; K shards of equal length cover it
	Head []byte // the delta's head
	Data []byte // the shard's bytes
}

// Info describes a stored shard.
type Info struct {
	ID
	K, M     uint8
	Size     uint32
	HeadLen  uint32
	ShardLen uint32
	File     uint64 // number of the log file
	Offset   int64  // of the record in it
}
