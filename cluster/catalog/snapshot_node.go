package catalog

import (
	"maps"
	"slices"
)

// member writes what recNode has no room for; nothing for a node without.
func (w *snapshotWriter) member(n NodeInfo) {
	bare := NodeInfo{ID: n.ID, Addr: n.Addr, Instance: n.Instance}
	if n == bare {
		return
	}
	w.record(recMember, func(e *encoder) {
		e.str(string(n.ID))
		e.str(n.Domain)
		e.u8(uint8(n.State))
		e.str(string(n.Successor))
		e.bool(n.Leave)
		e.u64(n.Changed)
		e.u64(n.Away)
	})
}

func (s *state) loadMember(d *decoder) {
	id := d.nodeID()
	n, ok := s.nodes[id]
	if !ok {
		d.bad("state of an unknown node")
	}
	n.Domain, n.State = d.str(maxName, "domain"), NodeState(d.u8())
	n.Successor, n.Leave, n.Changed, n.Away = d.nodeID(), d.bool(), d.u64(), d.u64()
	if n.State > NodeRemoved {
		d.bad("unknown state of a node")
	}
	if d.err == nil {
		s.nodes[id] = n
	}
}

// moves writes the shards that are on their way; nothing if there are none.
func (w *snapshotWriter) moves(s *state) {
	if len(s.moves) == 0 {
		return
	}
	w.record(recMoves, func(e *encoder) {
		e.uvar(uint64(len(s.moves)))
		for _, k := range slices.SortedFunc(maps.Keys(s.moves), compareShards) {
			e.shardRef(k.ref())
			e.str(string(s.moves[k]))
		}
	})
}

func (s *state) loadMoves(d *decoder) {
	for range d.count(maxMoves, "number of moves") {
		k := d.shardRef().key()
		to := d.nodeID()
		if _, twice := s.moves[k]; twice || d.err != nil {
			d.bad("bad move")
			return
		}
		s.moves[k] = to
	}
}
