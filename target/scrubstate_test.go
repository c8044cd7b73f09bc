package target

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/segment"
)

func someScrubState() scrubState {
	return scrubState{Pass: 7, Running: true, Started: 1, Finished: 2, File: 3, Off: 4096, Done: 5, Found: ScrubFindings{Shards: 6, Rotten: 1}, Last: ScrubFindings{Orphans: 9}}
}

// Every flipped bit of the state is seen, and so is every shorter file.
func TestScrubStateFlips(t *testing.T) {
	st := someScrubState()
	b := st.encode()
	got, err := decodeScrubState(b)
	noErr(t, err)
	if got != st {
		t.Errorf("%+v became %+v", st, got)
	}
	for i := range b {
		for bit := range 8 {
			c := append([]byte(nil), b...)
			c[i] ^= 1 << bit
			if _, err := decodeScrubState(c); !errors.Is(err, redoubt.ErrCorrupt) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := decodeScrubState(b[:i]); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func FuzzScrubState(f *testing.F) {
	st := someScrubState()
	f.Add(st.encode())
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := decodeScrubState(b); err == nil {
			again, err := decodeScrubState(st.encode())
			if err != nil || again != st {
				t.Errorf("%+v became %+v, %v", st, again, err)
			}
		}
	})
}

// Only what the catalog can never name may be deleted.
func TestClaims(t *testing.T) {
	id := segment.ID{Group: "shop", UUID: "u", Epoch: 3, Ordinal: 5, Shard: 1, CRC: 7}
	g := &catalog.Group{ID: "shop", UUID: "u", Epoch: 3}
	later := &catalog.Group{ID: "shop", UUID: "u", Epoch: 4}
	sg := func(crc uint32, nodes ...redoubt.NodeID) *catalog.Segment {
		return &catalog.Segment{Epoch: 3, Ordinal: 5, CRC: crc, Size: 10, Nodes: nodes}
	}
	for _, c := range []struct {
		what  string
		g     *catalog.Group
		sg    *catalog.Segment
		count uint64
		want  claim
	}{
		{"its segment", g, sg(7, "a", "me"), 9, claimed},
		{"the catalog knows no such group, yet", nil, nil, 0, unclaimed},
		{"a group of the same name", &catalog.Group{ID: "shop", UUID: "v", Epoch: 9}, nil, 0, unclaimed},
		{"another delta was committed", g, sg(8, "a", "me"), 9, forfeit},
		{"another node is its home", g, sg(7, "me", "a"), 9, unclaimed},
		{"no such shard", g, sg(7, "a"), 9, unclaimed},
		{"may be committed yet", g, nil, 5, unclaimed},
		{"the epoch is over", later, nil, 5, forfeit},
		{"the catalog is behind", &catalog.Group{ID: "shop", UUID: "u", Epoch: 2}, nil, 0, unclaimed},
		{"dropped by retention", later, nil, 6, unclaimed},
	} {
		if got := claimOf(id, "me", c.g, c.sg, c.count, false); got != c.want {
			t.Errorf("%s: %d, want %d", c.what, got, c.want)
		}
	}
	gone := &catalog.Segment{Epoch: 3, Ordinal: 5, CRC: 7}
	for _, planned := range []bool{false, true} {
		if got := claimOf(id, "me", g, gone, 9, planned); got != forfeit {
			t.Errorf("nothing is left of its segment, plan %v: %d", planned, got)
		}
		if got := claimOf(id, "me", g, sg(7, "a", "me"), 9, planned); got != claimed {
			t.Errorf("its segment, plan %v: %d", planned, got)
		}
	}
	if got := claimOf(id, "me", g, sg(8, "a", "me"), 9, true); got != unclaimed {
		t.Errorf("what may be left of a segment that a plan looks at: %d", got)
	}
}
