package shards

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func members(domains ...string) (out []catalog.NodeInfo) {
	for i, d := range domains {
		out = append(out, catalog.NodeInfo{ID: redoubt.NodeID(fmt.Sprintf("n%02d", i)), Domain: d})
	}
	return out
}

// layoutOf places enough segments to see the whole layout, checks that no
// two shards share a node, and returns the shards by node and the most in one domain.
func layoutOf(t *testing.T, nodes []catalog.NodeInfo, k, m int) (load map[redoubt.NodeID]int, most int) {
	t.Helper()
	var l layouts
	domain := map[redoubt.NodeID]string{}
	for _, n := range nodes {
		if domain[n.ID] = n.Domain; n.Domain == "" {
			domain[n.ID] = string(n.ID)
		}
	}
	load = map[redoubt.NodeID]int{}
	for o := range uint64(layoutSlots) {
		got, err := l.place(nodes, func(redoubt.NodeID) bool { return true }, o, k+m, m)
		if err != nil {
			t.Fatal(err)
		}
		in := map[string]int{}
		for _, n := range got {
			load[n]++
			in[domain[n]]++
			most = max(most, in[domain[n]])
		}
		if slices.Sort(got); len(slices.Compact(slices.Clone(got))) != k+m {
			t.Fatalf("segment %d lies on %v", o, got)
		}
	}
	return load, most
}

func TestPlaceIsEven(t *testing.T) {
	for n := 3; n <= 17; n++ {
		load, _ := layoutOf(t, members(make([]string, n)...), 2, 1)
		low, high := layoutSlots*3, 0
		for _, c := range load {
			low, high = min(low, c), max(high, c)
		}
		if len(load) != n || high-low > 1 {
			t.Errorf("%d nodes have between %d and %d shards: %v", n, low, high, load)
		}
	}
}

func TestPlaceSpreadsOverDomains(t *testing.T) {
	for _, c := range []struct {
		domains    []string
		k, m, most int
	}{
		{[]string{"a", "a", "b", "b", "c", "c"}, 4, 2, 2},
		{[]string{"a", "b", "a", "b", "c", "c", "a"}, 4, 2, 2},
		{[]string{"a", "a", "b", "b", "c"}, 2, 1, 1},
		{[]string{"a", "a", "a", "b"}, 2, 1, 2}, // two domains cannot take three shards one by one
		{[]string{"a", "a", "a", "", "", ""}, 2, 1, 1},
		{[]string{"a", "a", "a"}, 2, 1, 3},
	} {
		_, most := layoutOf(t, members(c.domains...), c.k, c.m)
		if most != c.most {
			t.Errorf("%d+%d on %v: up to %d shards in one domain, want %d", c.k, c.m, c.domains, most, c.most)
		}
	}
	rng := seeded.Rand(t)
	for range 200 {
		k, m := 1+rng.IntN(5), 1+rng.IntN(3)
		ds := make([]string, k+m+rng.IntN(8))
		size := map[string]int{}
		for i := range ds {
			ds[i] = string(rune('a' + rng.IntN(5)))
			size[ds[i]]++
		}
		fit := 0
		for _, n := range size {
			fit += min(n, m)
		}
		if _, most := layoutOf(t, members(ds...), k, m); fit >= k+m && most > m {
			t.Errorf("%d+%d on %v: %d shards in one domain", k, m, ds, most)
		}
	}
}

func TestPlaceAvoidsNodes(t *testing.T) {
	var l layouts
	nodes := members(make([]string, 6)...)
	down := map[redoubt.NodeID]bool{"n01": true, "n04": true}
	up := func(n redoubt.NodeID) bool { return !down[n] }
	for o := range uint64(20) {
		got, err := l.place(nodes, up, o, 4, 1)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(got, "n01") || slices.Contains(got, "n04") {
			t.Fatalf("a node that is down was chosen: %v", got)
		}
		got, err = l.place(nodes, up, o, 6, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(got) != 6 {
			t.Fatalf("six shards on %v", got)
		}
	}
	if _, err := l.place(nodes, up, 0, 7, 1); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("seven shards on six nodes: %v", err)
	}
	for i, st := range []catalog.NodeState{catalog.NodeDraining, catalog.NodeJoining} {
		nodes[i].State = st
	}
	for o := range uint64(layoutSlots) {
		got, err := l.place(nodes, func(redoubt.NodeID) bool { return true }, o, 3, 1)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(got, "n00") || slices.Contains(got, "n01") {
			t.Fatalf("a shard on a node that is not active: %v", got)
		}
	}
	if _, err := l.place(nodes, up, 0, 5, 1); !errors.Is(err, redoubt.ErrUnavailable) {
		t.Fatalf("five shards on four active nodes: %v", err)
	}
}
