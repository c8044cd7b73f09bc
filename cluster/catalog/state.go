package catalog

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// state is the whole catalog plus the dedupe table. A *Group in it is never
// changed in place: commands put a new one, so readers and snapshots share.
type state struct {
	index   uint64 // of the last Raft entry that was applied
	gen     uint64 // rises with every snapshot; see history
	nodes   map[redoubt.NodeID]NodeInfo
	groups  map[redoubt.GroupID]*Group
	byUUID  map[string]redoubt.GroupID
	epochs  map[epochKey]*history
	places  places
	clients map[ClientID]*client
	retain  map[redoubt.GroupID]*Retention // never changed in place either
	gaps    map[redoubt.GroupID][]Gap      // nor these
	held    map[redoubt.NodeID]*Held       // what follows from epochs; see count
	moves   map[shardKey]redoubt.NodeID
	plans   map[string]*RecoveryPlan // plans and runs are never changed in place
	runs    map[runKey]*Run
	jobs    map[redoubt.GroupID]*Jobs       // never changed in place either
	stands  map[redoubt.GroupID]*Standing   // never changed in place
	marks   map[redoubt.GroupID][]Bookmark  // rising; never changed in place either
	sets    map[redoubt.SetID]*Set          // nor these
	checks  map[redoubt.GroupID][]Check     // nor these
	resized map[redoubt.GroupID][]DiskEvent // never changed in place

	verified map[redoubt.GroupID][]Verification // never changed in place either
	bindings map[redoubt.GroupID]Binding
}

type epochKey struct {
	group redoubt.GroupID
	epoch redoubt.Epoch
}

func newState() *state {
	return &state{
		nodes:   map[redoubt.NodeID]NodeInfo{},
		groups:  map[redoubt.GroupID]*Group{},
		byUUID:  map[string]redoubt.GroupID{},
		epochs:  map[epochKey]*history{},
		places:  places{byID: map[string]uint32{}},
		clients: map[ClientID]*client{},
		retain:  map[redoubt.GroupID]*Retention{},
		gaps:    map[redoubt.GroupID][]Gap{},
		held:    map[redoubt.NodeID]*Held{},
		moves:   map[shardKey]redoubt.NodeID{},
		plans:   map[string]*RecoveryPlan{},
		runs:    map[runKey]*Run{},
		jobs:    map[redoubt.GroupID]*Jobs{},
		stands:  map[redoubt.GroupID]*Standing{},
		resized: map[redoubt.GroupID][]DiskEvent{},
		marks:   map[redoubt.GroupID][]Bookmark{},
		sets:    map[redoubt.SetID]*Set{},
		checks:  map[redoubt.GroupID][]Check{},

		verified: map[redoubt.GroupID][]Verification{},
		bindings: map[redoubt.GroupID]Binding{},
	}
}

func (s *state) group(op string, id redoubt.GroupID) (*Group, error) {
	if g, ok := s.groups[id]; ok {
		return g, nil
	}
	return nil, fail(op, string(id), redoubt.ErrNotFound, "redoubt group list shows the groups")
}

// groupAt is group, and refuses a caller that speaks of another epoch.
func (s *state) groupAt(op string, id redoubt.GroupID, e redoubt.Epoch) (*Group, error) {
	g, err := s.group(op, id)
	if err != nil || g.Epoch == e {
		return g, err
	}
	cause := redoubt.ErrInvalid
	if e < g.Epoch {
		cause = redoubt.ErrFenced
	}
	return nil, fail(op, string(id), fmt.Errorf("asked for epoch %d, the current one is %d: %w", e, g.Epoch, cause),
		"the group has moved on; look at it again")
}

func (s *state) put(g *Group) Group {
	s.groups[g.ID] = g
	return *g
}

// history returns the segments of an epoch; it is empty, and not stored, for a new one.
func (s *state) history(id redoubt.GroupID, e redoubt.Epoch) *history {
	if h, ok := s.epochs[epochKey{id, e}]; ok {
		return h
	}
	return &history{}
}

func (s *state) addSegment(id redoubt.GroupID, g *Segment) {
	key := epochKey{id, g.Epoch}
	h, ok := s.epochs[key]
	if !ok {
		h = &history{}
		s.epochs[key] = h
	}
	s.append(h, record{first: g.First, last: g.Last, firstTime: g.FirstTime, lastTime: g.LastTime, baseline: g.Baseline,
		size: g.Size, headLen: g.HeadLen, shardSize: g.ShardSize, crc: g.CRC, stored: uint32(g.Stored),
		place: s.places.intern(g.K, g.M, g.Nodes)})
}

func (s *state) segment(e redoubt.Epoch, ordinal uint64, r *record) Segment {
	p := s.places.list[r.place]
	return Segment{Epoch: e, Ordinal: ordinal, First: r.first, Last: r.last, FirstTime: r.firstTime, LastTime: r.lastTime,
		Size: r.size, HeadLen: r.headLen, ShardSize: r.shardSize, K: p.k, M: p.m, Nodes: p.nodes,
		Stored: uint64(r.stored), CRC: r.crc, Baseline: r.baseline}
}

// timeAt is the time of the write at p, or the latest time known not to be
// after it; 0 if nothing is stored before it.
func (s *state) timeAt(g *Group, p redoubt.Position) int64 {
	for _, st := range g.Lineage.Path(p) {
		h := s.history(g.ID, st.Epoch)
		if i, ok := h.find(st.To); ok {
			r := h.at(i)
			if r.last == st.To {
				return r.lastTime
			}
			return r.firstTime
		}
	}
	return 0
}

// firstOwner chooses the active node with the fewest groups; among equals the first by name.
func (s *state) firstOwner() redoubt.NodeID {
	load := map[redoubt.NodeID]int{}
	for _, g := range s.groups {
		load[g.Owner]++
	}
	active := slices.DeleteFunc(s.nodeIDs(), func(id redoubt.NodeID) bool { return s.nodes[id].State != NodeActive })
	return slices.MinFunc(active, func(a, b redoubt.NodeID) int {
		return cmp.Or(cmp.Compare(load[a], load[b]), cmp.Compare(a, b))
	})
}

func (s *state) nodeIDs() []redoubt.NodeID { return slices.Sorted(maps.Keys(s.nodes)) }
