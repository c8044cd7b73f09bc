package catalog

import (
	"github.com/redoubt-dr/redoubt"
)

const maxName = 64

func (e *encoder) disks(ds []redoubt.Disk) {
	e.uvar(uint64(len(ds)))
	for _, d := range ds {
		e.uvar(uint64(d.ID))
		e.str(d.Name)
		e.uvar(d.Size)
	}
}

func (d *decoder) disks() []redoubt.Disk {
	n := d.count(MaxDisks, "number of disks")
	if n == 0 {
		return nil
	}
	out := make([]redoubt.Disk, 0, n)
	for range n {
		out = append(out, redoubt.Disk{ID: redoubt.DiskID(d.uvarMax(1<<16-1, "disk")), Name: d.str(maxName, "disk name"), Size: d.uvar()})
	}
	return out
}

func (e *encoder) lineage(l redoubt.Lineage) {
	e.uvar(uint64(len(l)))
	for _, f := range l {
		e.uvar(uint64(f.Epoch))
		e.uvar(uint64(f.Parent))
		e.lsn(f.At)
	}
}

func (d *decoder) lineage() redoubt.Lineage {
	n := d.count(maxLineage, "number of epochs")
	if n == 0 {
		return nil
	}
	out := make(redoubt.Lineage, 0, n)
	for range n {
		out = append(out, redoubt.Fork{Epoch: redoubt.Epoch(d.uvar()), Parent: redoubt.Epoch(d.uvar()), At: d.lsn()})
	}
	return out
}

func (e *encoder) nodeIDs(ns []redoubt.NodeID) {
	e.uvar(uint64(len(ns)))
	for _, n := range ns {
		e.str(string(n))
	}
}

func (d *decoder) nodeIDs() []redoubt.NodeID {
	n := d.count(MaxShards, "number of shards")
	if n == 0 {
		return nil
	}
	out := make([]redoubt.NodeID, 0, n)
	for range n {
		out = append(out, redoubt.NodeID(d.str(maxName, "node")))
	}
	return out
}

func (e *encoder) receipt(r *Receipt) {
	e.bool(r != nil)
	if r == nil {
		return
	}
	e.uvar(uint64(r.Epoch))
	e.lsn(r.First)
	e.lsn(r.Last)
	e.uvar(r.Writes)
	e.uvar(r.Bytes)
	e.i64(r.FirstTime)
	e.i64(r.LastTime)
	e.i64(r.Time)
}

func (d *decoder) receipt() *Receipt {
	if !d.bool() {
		return nil
	}
	return &Receipt{Epoch: redoubt.Epoch(d.uvar()), First: d.lsn(), Last: d.lsn(), Writes: d.uvar(), Bytes: d.uvar(),
		FirstTime: d.i64(), LastTime: d.i64(), Time: d.i64()}
}

func (e *encoder) node(n NodeInfo) {
	e.str(string(n.ID))
	e.str(n.Addr)
	e.str(n.Instance)
}

func (d *decoder) node() NodeInfo {
	return NodeInfo{ID: redoubt.NodeID(d.str(maxName, "node")), Addr: d.str(maxAddr, "address"), Instance: d.str(maxName, "instance")}
}

func (e *encoder) group(g *Group) {
	e.str(string(g.ID))
	e.str(g.UUID)
	e.str(g.Source)
	e.str(g.SourceAddr)
	e.disks(g.Disks)
	e.uvar(uint64(g.K))
	e.uvar(uint64(g.M))
	e.i64(g.CreatedAt)
	e.u8(uint8(g.State))
	e.u8(uint8(g.Prior))
	e.uvar(uint64(g.Epoch))
	e.lineage(g.Lineage)
	e.str(g.Writer)
	e.str(string(g.Owner))
	e.uvar(g.OwnerTerm)
	e.pos(g.Committed)
	e.i64(g.CommittedTime)
	e.lsn(g.Baseline)
	e.pos(g.Promoted)
	e.i64(g.PromotedAt)
	e.lsn(g.KnownHead)
	e.i64(g.KnownHeadTime)
	e.i64(g.LastContact)
	e.pos(g.Before)
	e.receipt(g.Receipt)
}

func (d *decoder) group() *Group {
	g := &Group{}
	g.ID = redoubt.GroupID(d.str(maxName, "group"))
	g.UUID = d.str(maxName, "uuid")
	g.Source = d.str(maxName, "source")
	g.SourceAddr = d.str(maxAddr, "address")
	g.Disks = d.disks()
	g.K = int(d.uvarMax(MaxShards, "data shards"))
	g.M = int(d.uvarMax(MaxShards, "parity shards"))
	g.CreatedAt = d.i64()
	g.State = d.state()
	g.Prior = d.state()
	g.Epoch = redoubt.Epoch(d.uvar())
	g.Lineage = d.lineage()
	g.Writer = d.str(maxAddr, "writer")
	g.Owner = redoubt.NodeID(d.str(maxName, "owner"))
	g.OwnerTerm = d.uvar()
	g.Committed = d.pos()
	g.CommittedTime = d.i64()
	g.Baseline = d.lsn()
	g.Promoted = d.pos()
	g.PromotedAt = d.i64()
	g.KnownHead = d.lsn()
	g.KnownHeadTime = d.i64()
	g.LastContact = d.i64()
	g.Before = d.pos()
	g.Receipt = d.receipt()
	return g
}

func (d *decoder) state() State {
	s := State(d.u8())
	if s > StateReverseReplicating {
		d.bad("unknown state")
	}
	return s
}

func (e *encoder) segment(s *Segment) {
	e.uvar(uint64(s.Epoch))
	e.uvar(s.Ordinal)
	e.lsn(s.First)
	e.lsn(s.Last)
	e.i64(s.FirstTime)
	e.i64(s.LastTime)
	e.u32(s.Size)
	e.u32(s.HeadLen)
	e.u32(s.ShardSize)
	e.u8(s.K)
	e.u8(s.M)
	e.nodeIDs(s.Nodes)
	e.uvar(s.Stored)
	e.u32(s.CRC)
	e.lsn(s.Baseline)
}

func (d *decoder) segment() Segment {
	var s Segment
	s.Epoch = redoubt.Epoch(d.uvar())
	s.Ordinal = d.uvar()
	s.First = d.lsn()
	s.Last = d.lsn()
	s.FirstTime = d.i64()
	s.LastTime = d.i64()
	s.Size = d.u32()
	s.HeadLen = d.u32()
	s.ShardSize = d.u32()
	s.K = d.u8()
	s.M = d.u8()
	s.Nodes = d.nodeIDs()
	s.Stored = d.uvar()
	s.CRC = d.u32()
	s.Baseline = d.lsn()
	return s
}
