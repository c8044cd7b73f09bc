package repair

import (
	"testing"

	"github.com/redoubt-dr/redoubt/target/index"
)

// What can lose the fewest further shards comes first, then what is older; the
// bound on memory never hides a bare segment.
func TestBacklogOrder(t *testing.T) {
	b := newBacklog()
	add := func(ordinal uint64, spare int) {
		b.add(&missing{series: index.Series{Group: "shop", UUID: "u", Epoch: 1}, ordinal: ordinal, bytes: 10, spare: spare})
	}
	for i := range uint64(backlogMost) {
		add(i, 1)
	}
	add(1<<20, 1)   // beyond the bound
	add(2<<20, 0)   // bare
	add(2<<20, 0)   // known
	add(3<<20, -1)  // lost more than it may: as urgent
	add(2<<19+1, 2) // beyond the bound
	if b.segments != backlogMost+4 || b.over != 2 || b.bare != 2 || b.bytes != 10*(backlogMost+4) {
		t.Fatalf("%d segments, %d over, %d bare, %d bytes", b.segments, b.over, b.bare, b.bytes)
	}
	for _, want := range []uint64{2 << 20, 3 << 20, 0, 1, 2} {
		m := b.take()
		if m.ordinal != want {
			t.Errorf("segment %d, want %d", m.ordinal, want)
		}
		b.settled(m)
	}
	if b.segments != backlogMost-1 || b.bare != 0 {
		t.Errorf("afterwards: %d segments, %d bare", b.segments, b.bare)
	}
}
