package catalog

import (
	"math"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Standing is what operators decided about a group's replication, beyond its
// State. Values that the Catalog returns share their slices with it: do not
// change them.
type Standing struct {
	// Of the present state, if it is Paused or Unprotected: who asked for it,
	// when (Unix nanoseconds) and why.
	By     string `json:"by,omitempty"`
	Since  int64  `json:"since,omitempty"`
	Reason string `json:"reason,omitempty"`
	// Anew is the epoch in which the group was protected again: a source of an
	// earlier one forgets its journal, goes on at the epoch's fork, and copies
	// its disks whole. 0: never.
	Anew redoubt.Epoch `json:"anew,omitempty"`
	// Gap: that copy is not whole yet. Until it is, no position of the epoch is a
	// point: its Track has the horizon NoPoint.
	Gap bool `json:"gap,omitempty"`
	// Erased: nothing of the epochs below it is left, nor ever will be.
	Erased         redoubt.Epoch `json:"erased,omitempty"`
	ErasedAt       int64         `json:"erased_at,omitempty"`
	ErasedSegments uint64        `json:"erased_segments,omitempty"`
	ErasedBytes    uint64        `json:"erased_bytes,omitempty"` // of shards, on all nodes
	// Left are the nodes that have not said yet that they deleted their shards.
	Left []redoubt.NodeID `json:"left,omitempty"`
}

// NoPoint is the horizon of an epoch that has no point yet.
const NoPoint = redoubt.LSN(math.MaxUint64)

func (e *encoder) standing(st *Standing) {
	e.str(st.By)
	e.i64(st.Since)
	e.str(st.Reason)
	e.uvar(uint64(st.Anew))
	e.bool(st.Gap)
	e.uvar(uint64(st.Erased))
	e.i64(st.ErasedAt)
	e.uvar(st.ErasedSegments)
	e.uvar(st.ErasedBytes)
	e.uvar(uint64(len(st.Left)))
	for _, id := range st.Left {
		e.str(string(id))
	}
}

func (d *decoder) standing() *Standing {
	st := &Standing{By: d.str(maxAddr, "name"), Since: d.i64(), Reason: d.str(maxReason, "reason"), Anew: d.epoch(), Gap: d.bool(),
		Erased: d.epoch(), ErasedAt: d.i64(), ErasedSegments: d.uvar(), ErasedBytes: d.uvar()}
	for range d.count(maxNodes, "number of nodes") {
		st.Left = append(st.Left, d.nodeID())
	}
	return st
}

// maxReason bounds the words that an operator gives as a reason, in bytes.
const maxReason = 512

func (s *state) standing(id redoubt.GroupID) Standing {
	if st, ok := s.stands[id]; ok {
		return *st
	}
	return Standing{}
}

// Standing returns what operators decided about the group.
func (c *Catalog) Standing(id redoubt.GroupID) Standing {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.standing(id)
}

// Held reports whether the source of the group shall keep its writes to itself.
func (g *Group) Held() bool {
	return (g.State == StatePaused || g.State == StateUnprotected) && g.Writer == SourceWriter(g.Source)
}

// hideEpoch says that there is no point in the group's current epoch until its
// copy is whole.
func (s *state) hideEpoch(g *Group) {
	r := *s.retention(g.ID)
	i, there := slices.BinarySearchFunc(r.Tracks, g.Epoch, func(t Track, e redoubt.Epoch) int { return int(t.Epoch) - int(e) })
	r.Tracks = slices.Clone(r.Tracks)
	if !there {
		r.Tracks = slices.Insert(r.Tracks, i, Track{Epoch: g.Epoch})
	}
	r.Tracks[i].Horizon = NoPoint
	r.Gen++
	s.retain[g.ID] = &r
}

// passOnGap carries a gap over to an epoch that begins inside of one: after a
// cancelled failover the copy goes on.
func (s *state) passOnGap(g *Group) {
	f, ok := g.Lineage.Find(g.Epoch)
	if ok && s.standing(g.ID).Gap && !s.retention(g.ID).Has(redoubt.Position{Epoch: f.Parent, LSN: f.At}) {
		s.hideEpoch(g)
	}
}

// regain ends the gap once everything up to where the copy is whole is
// committed. base is the baseline that a segment of the current epoch told; 0: none did.
func (s *state) regain(g *Group, base redoubt.LSN) {
	st := s.standing(g.ID)
	if !st.Gap {
		return
	}
	r := *s.retention(g.ID)
	i, there := slices.BinarySearchFunc(r.Tracks, g.Epoch, func(t Track, e redoubt.Epoch) int { return int(t.Epoch) - int(e) })
	if there && r.Tracks[i].Horizon == NoPoint && base != 0 {
		r.Tracks = slices.Clone(r.Tracks)
		r.Tracks[i].Horizon = base
		r.Gen++
		s.retain[g.ID] = &r
	}
	if !there || g.Committed.LSN < r.Tracks[i].Horizon {
		return
	}
	st.Gap = false
	s.stands[g.ID] = &st
	if g.State == StateResyncing {
		g.State = StateProtected
	}
	if g.Prior == StateResyncing {
		g.Prior = StateProtected
	}
}
