package view

import (
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func TestAheadNoticesSequences(t *testing.T) {
	const size, window = 1 << 30, 8 << 20
	a := &ahead{}
	at := func(off uint64) redoubt.Extent {
		return a.note(1, redoubt.Extent{Off: off, Len: 64 << 10}, window, size)
	}
	var covered uint64
	for i := range uint64(512) { // two readers in turns, each going on
		for _, base := range []uint64{0, 512 << 20} {
			e := at(base + i<<16)
			if base == 0 && !e.Empty() {
				if covered != 0 && e.Off != covered {
					t.Fatalf("brought from %d on, %d is reached", e.Off, covered)
				}
				covered = e.End()
			}
		}
		if i >= aheadAfter && covered < (i+1)<<16 {
			t.Fatalf("after %d reads only %d bytes are brought", i, covered)
		}
	}
	if covered > 512<<16+window {
		t.Fatalf("%d bytes are brought for a reader at %d", covered, 512<<16)
	}
	b := &ahead{}
	for i := range uint64(200) { // far jumps are no sequence
		if e := b.note(1, redoubt.Extent{Off: i * 7919 % 199 * (5 << 20), Len: 4096}, window, size); !e.Empty() {
			t.Fatalf("random reads have %v brought", e)
		}
	}
	if n := len(b.readers); n > aheadReaders {
		t.Fatalf("%d readers are remembered", n)
	}
}
