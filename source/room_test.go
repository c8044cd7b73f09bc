package source

import "testing"

// What all groups together may have under way is bounded, down to one delta each.
func TestCopyRoom(t *testing.T) {
	var r copyRoom
	for _, c := range []struct {
		copies int
		share  uint64
	}{{0, copyAhead}, {1, copyAhead}, {2, 48 << 20}, {3, 32 << 20}, {8, 12 << 20}, {24, 4 << 20}, {1000, copyAheadLeast}} {
		var leave []func()
		for range c.copies {
			leave = append(leave, r.enter())
		}
		if got := r.share(); got != c.share {
			t.Errorf("%d copies: %d bytes each, want %d", c.copies, got, c.share)
		}
		for _, fn := range leave {
			fn()
		}
	}
	if got := r.share(); got != copyAhead {
		t.Errorf("after all have left: %d bytes", got)
	}
}
