package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// ShardOf is a shard of one delta. CRC is that of the segment it was made from.
type ShardOf struct {
	ShardRef
	CRC uint32
}

// ReportShards tells that shards became durable on Node after their segment was
// committed (a repair), or, with Lost, that they were found missing or rotten
// there. A shard that the catalog does not name there (any more), since its
// segment was thinned or it has another home, is left out. Result: nil.
//
// It takes the place of ShardsStored, which did not say of which delta the
// shards are, and so could set a bit of what is left of a thinned segment.
type ReportShards struct {
	Node   redoubt.NodeID
	Lost   bool
	Shards []ShardOf
}

func (c ReportShards) kind() kind { return kindReportShards }

func (c ReportShards) encode(e *encoder) {
	e.str(string(c.Node))
	e.bool(c.Lost)
	e.shardsOf(c.Shards)
}

func decodeReportShards(d *decoder) Command {
	return ReportShards{Node: d.nodeID(), Lost: d.bool(), Shards: d.shardsOf()}
}

func (c ReportShards) check() error {
	if len(c.Shards) == 0 || len(c.Shards) > MaxBatch {
		return invalid("report shards of node", string(c.Node), fmt.Sprintf("%d shards", len(c.Shards)))
	}
	return redoubt.ValidName("node", string(c.Node))
}

func (c ReportShards) apply(s *state) (any, error) {
	for _, of := range c.Shards {
		k := of.key()
		r, p, ok := s.shard(k)
		if !ok || r.crc != of.CRC || p.nodes[k.shard] != c.Node {
			continue
		}
		s.edit(s.epochs[k.epochKey], k.ordinal, func(r *record) {
			r.stored |= 1 << k.shard
			if c.Lost {
				r.stored &^= 1 << k.shard
			}
		})
	}
	return nil, nil
}

func (e *encoder) shardRef(r ShardRef) {
	e.str(string(r.Group))
	e.uvar(uint64(r.Epoch))
	e.uvar(r.Ordinal)
	e.u8(r.Shard)
}

func (d *decoder) shardRef() ShardRef {
	return ShardRef{Group: d.groupID(), Epoch: d.epoch(), Ordinal: d.uvar(), Shard: d.u8()}
}

func (e *encoder) shardsOf(shards []ShardOf) {
	e.uvar(uint64(len(shards)))
	for _, of := range shards {
		e.shardRef(of.ShardRef)
		e.u32(of.CRC)
	}
}

func (d *decoder) shardsOf() (out []ShardOf) {
	for range d.count(MaxBatch, "number of shards") {
		out = append(out, ShardOf{ShardRef: d.shardRef(), CRC: d.u32()})
		if d.err != nil {
			break
		}
	}
	return out
}
