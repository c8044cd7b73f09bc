package journal

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Nobody who makes a journal waits for its index: it opens while the index
// cannot. Close saves it all the same, and the next open uses it.
func TestLateIndex(t *testing.T) {
	gate := make(chan struct{})
	idx, opened := &memIndex{}, 0
	o := Options{FS: vfs.NewMem(), SegmentSize: MinSegmentSize, Create: true, Start: redoubt.Position{Epoch: 1}}
	o.index = func() (index, error) {
		<-gate
		opened++
		return idx, nil
	}
	j, err := Open("j", o)
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(j.Append([]redoubt.Write{{Disk: 1, Kind: redoubt.KindTrim, Extent: redoubt.Extent{Len: 512}}}), j.Sync(t.Context(), 1), j.SetApplied(1))
	if err != nil {
		t.Fatal(err)
	}
	close(gate)
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := idx.load(); err != nil || opened != 1 || c == nil || c.ID != j.ID() || c.Applied != 1 {
		t.Errorf("after %d openings the index holds %+v: %v", opened, c, err)
	}
	if j, err = Open("j", o); err != nil {
		t.Fatal(err)
	}
	if opened != 2 {
		t.Error("a journal that was there opens without its index")
	}
	if err := j.Close(); err != nil {
		t.Error(err)
	}
}
