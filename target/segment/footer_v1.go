package segment

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Version 1 of the footer is read, not written: the next scrub of the file
// writes it in the present version. It has to be read as a whole.
//
//	footer       magic "RDSF" 4 | version 2 | zero 2 | count 4 | entries | CRC32C 4
//	  entry      offset 8 | header length 4 | type 1 | shard 1 | k 1 | m 1 | g 1 | u 1 |
//	             epoch 8 | ordinal 8 | delta CRC 4 | size 4 | head length 4 | shard length 4 | group g | UUID u
const (
	footerV1     = 1
	entryFixedV1 = 50
)

// decodeFooterV1 returns the headers without their chunk checksums.
func decodeFooterV1(b []byte, file uint64) ([]*header, error) {
	le := binary.LittleEndian
	if len(b) < 16 || string(b[:4]) != footerMagic || le.Uint32(b[len(b)-4:]) != redoubt.Checksum(b[:len(b)-4]) {
		return nil, corrupt("footer")
	}
	if v := le.Uint16(b[4:]); v != footerV1 {
		return nil, fmt.Errorf("footer version %d: %w", v, redoubt.ErrVersion)
	}
	count := int(le.Uint32(b[8:]))
	b = b[12 : len(b)-4]
	if count > len(b)/entryFixedV1 {
		return nil, corrupt("footer count")
	}
	hs := make([]*header, 0, count)
	for range count {
		if len(b) < entryFixedV1 {
			return nil, corrupt("footer entry")
		}
		g, u := int(b[16]), int(b[17])
		if len(b) < entryFixedV1+g+u {
			return nil, corrupt("footer entry")
		}
		h := &header{Type: b[12], K: b[14], M: b[15], File: file, Offset: int64(le.Uint64(b)), Len: le.Uint32(b[8:]),
			Size: le.Uint32(b[38:]), HeadLen: le.Uint32(b[42:]), ShardLen: le.Uint32(b[46:]), ChunkSize: chunkSize}
		h.ID = ID{Group: redoubt.GroupID(b[entryFixedV1 : entryFixedV1+g]), UUID: string(b[entryFixedV1+g : entryFixedV1+g+u]),
			Epoch: redoubt.Epoch(le.Uint64(b[18:])), Ordinal: le.Uint64(b[26:]), Shard: b[13], CRC: le.Uint32(b[34:])}
		if h.Len > maxHeader || h.HeadLen > MaxHead || h.ShardLen > MaxShard || h.ID.validate() != nil {
			return nil, corrupt("footer entry")
		}
		hs = append(hs, h)
		b = b[entryFixedV1+g+u:]
	}
	if len(b) != 0 {
		return nil, corrupt("footer length")
	}
	return hs, nil
}
