package catalog

import (
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// CreateGroup makes a protection group and gives it an owner: the registered
// node with the fewest groups. Result: the Group. It is idempotent by ID and
// UUID: a group that is there already is returned as it is. ErrExists if the
// ID or the UUID belongs to another group (for an unprotected one whose points are
// deleted, see RenewGroup); ErrUnavailable while fewer than K+M
// nodes are registered.
type CreateGroup struct {
	ID         redoubt.GroupID
	UUID       string // made by the source once, when the group is first protected
	Source     string
	SourceAddr string
	Disks      []redoubt.Disk
	K, M       int
	Now        int64 // Unix nanoseconds
}

func (c CreateGroup) kind() kind { return kindCreateGroup }

func (c CreateGroup) encode(e *encoder) {
	e.str(string(c.ID))
	e.str(c.UUID)
	e.str(c.Source)
	e.str(c.SourceAddr)
	e.disks(c.Disks)
	e.uvar(uint64(c.K))
	e.uvar(uint64(c.M))
	e.i64(c.Now)
}

func decodeCreateGroup(d *decoder) CreateGroup {
	return CreateGroup{ID: d.groupID(), UUID: d.str(maxName, "uuid"), Source: d.str(maxName, "source"),
		SourceAddr: d.str(maxAddr, "address"), Disks: d.disks(), K: int(d.uvarMax(MaxShards, "data shards")),
		M: int(d.uvarMax(MaxShards, "parity shards")), Now: d.i64()}
}

func (c CreateGroup) check() error {
	for _, n := range [][2]string{{"group", string(c.ID)}, {"uuid", c.UUID}, {"source", c.Source}} {
		if err := redoubt.ValidName(n[0], n[1]); err != nil {
			return err
		}
	}
	bad := func(why string) error { return invalid("create group", string(c.ID), why) }
	if c.K < 1 || c.M < 0 || c.K+c.M > MaxShards {
		return bad(fmt.Sprintf("%d data and %d parity shards", c.K, c.M))
	}
	if len(c.SourceAddr) > maxAddr {
		return bad("source address too long")
	}
	if len(c.Disks) < 1 || len(c.Disks) > MaxDisks {
		return bad(fmt.Sprintf("%d disks", len(c.Disks)))
	}
	ids, names := map[redoubt.DiskID]bool{}, map[string]bool{}
	for _, d := range c.Disks {
		if err := redoubt.ValidName("disk", d.Name); err != nil {
			return err
		}
		if d.ID == 0 || ids[d.ID] || names[d.Name] {
			return bad("disk " + d.Name + " twice or without a number")
		}
		if d.Size == 0 || d.Size%redoubt.SectorSize != 0 || d.Size > redoubt.MaxDiskSize {
			return bad(fmt.Sprintf("disk %s of %d bytes", d.Name, d.Size))
		}
		ids[d.ID], names[d.Name] = true, true
	}
	return nil
}

func (c CreateGroup) apply(s *state) (any, error) {
	if g, ok := s.groups[c.ID]; ok {
		if g.UUID == c.UUID {
			return *g, nil
		}
		if !s.vacant(g) {
			return nil, taken(c.ID)
		}
	}
	if other, ok := s.byUUID[c.UUID]; ok {
		return nil, fail("create group", string(c.ID), fmt.Errorf("its UUID is that of group %s: %w", other, redoubt.ErrExists), "")
	}
	if active := s.inState(NodeActive, ""); active < c.K+c.M {
		return nil, fail("create group", string(c.ID),
			fmt.Errorf("%d+%d shards need %d nodes, %d are registered: %w", c.K, c.M, c.K+c.M, active, redoubt.ErrUnavailable),
			"start more target nodes, or ask for fewer shards")
	}
	g := &Group{ID: c.ID, UUID: c.UUID, Source: c.Source, SourceAddr: c.SourceAddr, Disks: c.Disks, K: c.K, M: c.M,
		CreatedAt: c.Now, State: StateInitialSync, Epoch: 1, Lineage: redoubt.Lineage{{Epoch: 1}},
		Writer: SourceWriter(c.Source), Owner: s.firstOwner(), OwnerTerm: 1, Committed: redoubt.Position{Epoch: 1}}
	if old, ok := s.groups[c.ID]; ok {
		delete(s.byUUID, old.UUID)
		delete(s.retain, c.ID)
		delete(s.stands, c.ID)
		delete(s.resized, c.ID)
	}
	s.byUUID[c.UUID] = c.ID
	return s.put(g), nil
}

// UpdateGroup tells where the source listens. Result: the Group. Disks, when
// given, must be those of the group: changing them is not supported yet.
type UpdateGroup struct {
	Group      redoubt.GroupID
	SourceAddr string
	Disks      []redoubt.Disk
}

func (c UpdateGroup) kind() kind { return kindUpdateGroup }

func (c UpdateGroup) encode(e *encoder) {
	e.str(string(c.Group))
	e.str(c.SourceAddr)
	e.disks(c.Disks)
}

func decodeUpdateGroup(d *decoder) Command {
	return UpdateGroup{Group: d.groupID(), SourceAddr: d.str(maxAddr, "address"), Disks: d.disks()}
}

func (c UpdateGroup) check() error {
	if len(c.SourceAddr) > maxAddr || len(c.Disks) > MaxDisks {
		return invalid("update group", string(c.Group), "too long")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c UpdateGroup) apply(s *state) (any, error) {
	g, err := s.group("update group", c.Group)
	if err != nil {
		return nil, err
	}
	if len(c.Disks) > 0 && !slices.Equal(c.Disks, g.Disks) {
		return nil, invalid("update group", string(c.Group), "its disks differ from those that are protected")
	}
	n := *g
	n.SourceAddr = c.SourceAddr
	return s.put(&n), nil
}

// SetOwner gives the group to another node. Term is the owner term that this
// replaces: whoever read an older one is refused with ErrFenced, so two
// proposers cannot undo each other. Result: the Group.
type SetOwner struct {
	Group redoubt.GroupID
	Node  redoubt.NodeID
	Term  uint64
}

func (c SetOwner) kind() kind { return kindSetOwner }

func (c SetOwner) encode(e *encoder) {
	e.str(string(c.Group))
	e.str(string(c.Node))
	e.uvar(c.Term)
}

func decodeSetOwner(d *decoder) Command {
	return SetOwner{Group: d.groupID(), Node: redoubt.NodeID(d.str(maxName, "node")), Term: d.uvar()}
}

func (c SetOwner) check() error {
	if err := redoubt.ValidName("node", string(c.Node)); err != nil {
		return err
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c SetOwner) apply(s *state) (any, error) {
	g, err := s.group("set owner of group", c.Group)
	if err != nil {
		return nil, err
	}
	if node, ok := s.nodes[c.Node]; !ok {
		return nil, fail("set owner of group", string(c.Group), fmt.Errorf("node %s: %w", c.Node, redoubt.ErrNotFound), "")
	} else if node.State != NodeActive {
		return nil, fail("set owner of group", string(c.Group), fmt.Errorf("node %s is %s: %w", c.Node, node.State, redoubt.ErrState), "")
	}
	if c.Term != g.OwnerTerm {
		return nil, fail("set owner of group", string(c.Group),
			fmt.Errorf("owner term %d, the present one is %d: %w", c.Term, g.OwnerTerm, redoubt.ErrFenced), "")
	}
	n := *g
	n.Owner, n.OwnerTerm = c.Node, g.OwnerTerm+1
	return s.put(&n), nil
}
