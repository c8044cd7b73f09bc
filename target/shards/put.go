package shards

import (
	"context"
	"errors"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// Place chooses the nodes of a new segment's shards. ErrUnavailable if there are
// fewer active nodes than shards.
func (s *Site) Place(ordinal uint64, k, m int) ([]redoubt.NodeID, error) {
	return s.layouts.place(s.o.Catalog.Nodes(), s.o.Peers.Up, ordinal, k+m, m)
}

// Homes chooses where the shards of a segment go that is written anew: where
// they are now, or as for a new segment if one of these nodes leaves, is down, or
// has a log that failed.
func (s *Site) Homes(sg *catalog.Segment) ([]redoubt.NodeID, error) {
	for _, id := range sg.Nodes {
		if n, _ := s.o.Catalog.Node(id); n.State != catalog.NodeActive || !s.o.Peers.Up(id) {
			return s.Place(sg.Ordinal, int(sg.K), int(sg.M))
		}
	}
	return sg.Nodes, nil
}

// Put makes a shard durable on the node. The shard's memory may be read until Put
// returns, no longer.
func (s *Site) Put(ctx context.Context, node redoubt.NodeID, sh *segment.Shard) error {
	if node == s.o.Self {
		s.ingested.Add(uint64(len(sh.Head) + len(sh.Data)))
		return s.o.Log.Put(ctx, sh)
	}
	meta := peers.Encode(putRequest{ID: sh.ID, K: sh.K, M: sh.M, Size: sh.Size, HeadLen: uint32(len(sh.Head))})
	_, err := s.o.Peers.Call(ctx, node, methodPut, meta, sh.Head, sh.Data)
	if errors.Is(err, redoubt.ErrFailed) {
		s.o.Peers.Fail(node, err)
	}
	return err
}
