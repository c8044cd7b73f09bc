package cluster

import (
	"fmt"
	"slices"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

func TestNextChange(t *testing.T) {
	server := func(i int, s raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID(nodeName(i)), Address: raft.ServerAddress(nodeName(i) + ":1"), Suffrage: s}
	}
	three := []raft.Server{server(0, raft.Voter), server(1, raft.Voter), server(2, raft.Voter)}
	members := func(states ...catalog.NodeState) (out []catalog.Member) {
		for i, s := range states {
			out = append(out, catalog.Member{NodeInfo: catalog.NodeInfo{ID: nodeName(i), Addr: string(nodeName(i)) + ":1", State: s}})
		}
		return out
	}
	moved := members(catalog.NodeActive, catalog.NodeActive, catalog.NodeActive)
	moved[1].Addr = "new:1"
	all := view{self: "n1", live: alive, there: alive, caughtUp: alive, knows: func(redoubt.NodeID, uint64) bool { return true }}
	behind, deaf, dead := all, all, all
	behind.caughtUp = func(redoubt.NodeID) bool { return false }
	deaf.knows = func(redoubt.NodeID, uint64) bool { return false }
	dead.live = func(id redoubt.NodeID) bool { return id != "n2" }
	dead.there = dead.live
	untold := dead
	untold.knows = deaf.knows
	with := func(s raft.ServerSuffrage) []raft.Server { return append(slices.Clone(three), server(3, s)) }
	const a, j, rm = catalog.NodeActive, catalog.NodeJoining, catalog.NodeRemoved
	for name, c := range map[string]struct {
		nodes   []catalog.Member
		servers []raft.Server
		v       view
		want    change
	}{
		"nothing to do":        {members(a, a, a), three, all, change{}},
		"invited only":         {members(a, a, a, catalog.NodeInvited), three, all, change{}},
		"without a vote first": {members(a, a, a, j), three, all, change{stepNonvoter, "n4", "n4:1"}},
		"catching up":          {members(a, a, a, j), with(raft.Nonvoter), behind, change{}},
		"gets a vote":          {members(a, a, a, j), with(raft.Nonvoter), all, change{stepVoter, "n4", "n4:1"}},
		"is used":              {members(a, a, a, j), with(raft.Voter), all, change{stepActivate, "n4", ""}},
		"another address":      {moved, three, all, change{stepVoter, "n2", "new:1"}},
		"removed":              {members(a, rm, a), three, all, change{stepRemove, "n2", ""}},
		"not told yet":         {members(a, rm, a), three, deaf, change{}},
		"dead, never told":     {members(a, rm, a), three, untold, change{stepRemove, "n2", ""}},
		"too few others":       {members(a, a, rm), three, dead, change{}},
		"the leader itself":    {members(rm, a, a), three, all, change{stepHandOver, "n1", ""}},
		"is out":               {members(a, a, a, rm), three, all, change{}},
	} {
		if got := nextChange(c.nodes, c.servers, c.v); got != c.want {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
	}
}

func TestPlanOwners(t *testing.T) {
	groups := func(owners ...redoubt.NodeID) (out []catalog.Group) {
		for i, o := range owners {
			out = append(out, catalog.Group{ID: redoubt.GroupID(fmt.Sprintf("g%d", i)), Owner: o, OwnerTerm: 7})
		}
		return out
	}
	may := map[redoubt.NodeID]bool{"n1": true, "n2": true, "n3": false}
	lost := map[redoubt.NodeID]bool{"n3": true}
	got := planOwners(groups("n1", "n3", "n3", "n3", "n1"), may, lost, true)
	to := map[redoubt.NodeID]int{}
	for _, p := range got {
		to[p.Node]++
	}
	if len(got) != 3 || to["n2"] != 2 || to["n1"] != 1 {
		t.Errorf("groups of a lost node: %+v", got)
	}
	if got := planOwners(groups("n1", "n1", "n1", "n1"), may, lost, true); len(got) != 1 || got[0] != (catalog.SetOwner{Group: "g0", Node: "n2", Term: 7}) {
		t.Errorf("evening out: %+v", got)
	}
	if got := planOwners(groups("n1", "n1", "n1", "n1"), may, lost, false); len(got) != 0 {
		t.Errorf("evening out too soon: %+v", got)
	}
	if got := planOwners(groups("n1", "n1", "n2"), may, lost, true); len(got) != 0 {
		t.Errorf("moving what is even: %+v", got)
	}
}

// Who leaves, is silent or cannot store loses its groups, and nobody gets any who
// does not answer now; but where nobody can store, groups have owners all the same.
func TestFitness(t *testing.T) {
	var members []catalog.Member
	for _, id := range []redoubt.NodeID{"sound", "slow", "silent", "broken"} {
		members = append(members, catalog.Member{NodeInfo: catalog.NodeInfo{ID: id, State: catalog.NodeActive}})
	}
	members = append(members, catalog.Member{NodeInfo: catalog.NodeInfo{ID: "leaves", State: catalog.NodeDraining}})
	in := func(ids ...redoubt.NodeID) func(redoubt.NodeID) bool {
		return func(id redoubt.NodeID) bool { return slices.Contains(ids, id) }
	}
	is := func(m map[redoubt.NodeID]bool, want ...redoubt.NodeID) {
		t.Helper()
		var got []redoubt.NodeID
		for _, n := range members {
			if m[n.ID] {
				got = append(got, n.ID)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	alive, steady := in("sound", "broken", "leaves"), in("sound", "slow", "broken", "leaves")
	may, lost := fitness(members, alive, steady, in("broken"))
	is(may, "sound")
	is(lost, "silent", "broken", "leaves")
	may, lost = fitness(members, alive, steady, in("sound", "slow", "silent", "broken"))
	is(may, "sound", "broken")
	is(lost, "silent", "leaves")
}
