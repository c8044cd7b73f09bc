package cluster

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

func nodeName(i int) redoubt.NodeID { return redoubt.NodeID(fmt.Sprintf("n%d", i+1)) }

func alive(redoubt.NodeID) bool { return true }

func createG(id string) catalog.CreateGroup {
	return catalog.CreateGroup{ID: redoubt.GroupID(id), UUID: "uuid-" + id, Source: "host1", SourceAddr: "10.1.1.1:7447",
		Disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 30}, {ID: 2, Name: "data", Size: 1 << 20}}, K: 2, M: 1, Now: 1000}
}

// seg is a segment that follows what g has committed.
func seg(g catalog.Group, ordinal uint64, first, last redoubt.LSN) catalog.Segment {
	return catalog.Segment{Epoch: g.Epoch, Ordinal: ordinal, First: first, Last: last, FirstTime: int64(first) * 1000, LastTime: int64(last) * 1000,
		Size: 1000, HeadLen: 100, ShardSize: 500, K: 2, M: 1, Nodes: []redoubt.NodeID{"n1", "n2", "n3"}, Stored: 7, CRC: uint32(last)}
}

func batch(g catalog.Group, segs ...catalog.Segment) catalog.CommitSegments {
	return catalog.CommitSegments{Batches: []catalog.SegmentBatch{{Group: g.ID, Epoch: g.Epoch, OwnerTerm: g.OwnerTerm, Segments: segs}}}
}
