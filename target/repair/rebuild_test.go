package repair

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// Helpers are asked by turns; a node that is read from already, or that seems
// down, or is not said to have its shard, is asked later.
func TestHelpersTakeTurns(t *testing.T) {
	ps := peers.New(t.Context(), peers.Options{Self: "a", Now: time.Now})
	r := New(t.Context(), Options{Self: "a", Most: 1 << 30, Shards: shards.New(shards.Options{Self: "a", Peers: ps})})
	const k, m = 4, 2
	sg := &catalog.Segment{K: k, M: m, Nodes: []redoubt.NodeID{"a", "b", "c", "d", "e", "f"}, Stored: 0b111111}
	own := func(i int) bool { return i == 0 }
	asked := map[int]int{}
	for sg.Ordinal = range uint64(60) {
		for _, i := range r.helpers(sg, own)[:k] {
			asked[i]++
		}
	}
	for i := 1; i < k+m; i++ {
		if asked[i] < 40 || asked[i] > 56 || asked[0] > 0 {
			t.Errorf("240 reads of five helpers: %v", asked)
			break
		}
	}
	last := func(what string, want int) {
		t.Helper()
		for sg.Ordinal = range uint64(12) {
			if got := r.helpers(sg, own); got[len(got)-1] != want || len(got) != k+m-1 {
				t.Fatalf("%s: %v, want %d last", what, got, want)
			}
		}
	}
	r.reads["c"] = 1
	last("node c is busy", 2)
	sg.Stored &^= 1 << 4
	last("shard 4 is not there", 4)
	sg.Stored |= 1 << 4
	ps.GiveUp("d", redoubt.ErrUnavailable)
	last("node d is down", 3)
	if got := r.helpers(sg, func(i int) bool { return i != 5 }); !slices.Equal(got, []int{5}) {
		t.Errorf("all but shard 5 skipped: %v", got)
	}
}

// A node serves few reads for repair at a time; who waits gives up with its call.
func TestHelpIsBounded(t *testing.T) {
	r := New(t.Context(), Options{Most: 1 << 30})
	var releases []func()
	for range helpMost {
		release, err := r.Help(t.Context(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		releases = append(releases, release)
	}
	ctx, cancel := context.WithCancel(t.Context())
	waits := make(chan error)
	go func() {
		_, err := r.Help(ctx, 1)
		waits <- err
	}()
	cancel()
	if err := <-waits; !errors.Is(err, context.Canceled) {
		t.Errorf("one too many: %v", err)
	}
	releases[0]()
	release, err := r.Help(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	release()
}
