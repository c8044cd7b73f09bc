package compare

import (
	"math"
	"slices"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// The longest record fits into a question, with as many extents as there is room for.
func TestLongestRecord(t *testing.T) {
	r := Record{At: redoubt.Position{Epoch: math.MaxUint64, LSN: math.MaxUint64}, Started: math.MinInt64, Finished: math.MinInt64,
		Blocks: math.MaxUint64, Moved: math.MaxUint64, Unsettled: math.MaxUint64, Differing: math.MaxUint64, Passes: math.MaxUint32,
		HashBytes: math.MaxUint64, ReadBytes: math.MaxUint64}
	for range MaxExtents {
		r.Extents = append(r.Extents, DiskExtent{math.MaxUint16, redoubt.Extent{Off: math.MaxUint64, Len: math.MaxUint64}})
	}
	b, err := r.encode(maxQuestion)
	if err != nil || len(b) > maxQuestion {
		t.Fatalf("%d bytes, %v", len(b), err)
	}
	got, err := decodeJSON[Record](b)
	if err != nil || len(got.Extents) < MaxExtents/2 || got.Differing != r.Differing || len(r.Extents) != MaxExtents {
		t.Errorf("%d extents, %v", len(got.Extents), err)
	}
	r.Extents = r.Extents[:3]
	b, err = r.encode(maxQuestion)
	if got, _ := decodeJSON[Record](b); err != nil || !slices.Equal(got.Extents, r.Extents) {
		t.Errorf("%+v, %v", got.Extents, err)
	}
}
