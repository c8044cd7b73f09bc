package target

import (
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Cut returns the manifest and the shards that a Store keeps of a delta, for
// programs that generate a history. The manifest names no nodes yet.
func Cut(d *ship.Delta, ordinal uint64, k, m int) (catalog.Segment, [][]byte, error) {
	shards, _, err := shards.NewCoders().Split(d.Encoded(), k, m)
	return newSegment(d, ordinal, k, m), shards, err
}

// ShardOf returns shard i as a Log stores it for the group with this UUID.
func ShardOf(d *ship.Delta, sg *catalog.Segment, uuid string, i int, data []byte) *segment.Shard {
	id := segment.ID{Group: d.Group, UUID: uuid, Epoch: sg.Epoch, Ordinal: sg.Ordinal, Shard: uint8(i), CRC: sg.CRC}
	return &segment.Shard{ID: id, K: sg.K, M: sg.M, Size: sg.Size, Head: d.Encoded()[:d.HeadLen()], Data: data}
}
