package ship

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A resize passes the wire, moves the bound for what comes after it, and names
// a size that a disk can have.
func TestResizeEntry(t *testing.T) {
	build := func(ws ...redoubt.Write) (*Delta, error) {
		b := NewBuilder("g", 1, NewCompressor(CodecNone))
		for i := range ws {
			ws[i].LSN, ws[i].Time = redoubt.LSN(i+1), 1
			if err := b.Add(&ws[i]); err != nil {
				return nil, err
			}
		}
		d, err := b.Finish()
		if err != nil {
			return nil, err
		}
		return Parse(d.Encoded())
	}
	resize := func(disk redoubt.DiskID, e redoubt.Extent) redoubt.Write {
		return redoubt.Write{Disk: disk, Kind: redoubt.KindResize, Extent: e}
	}
	zero := redoubt.Write{Disk: 1, Kind: redoubt.KindZero, Extent: redoubt.Extent{Off: 4096, Len: 4096}}
	d, err := build(resize(1, redoubt.Extent{Off: 8192}), zero)
	if err != nil || d.Entries[0].Kind != redoubt.KindResize || d.Entries[0].Extent != (redoubt.Extent{Off: 8192}) || d.Entries[0].HasData() {
		t.Fatalf("%+v, %v", d, err)
	}
	h := &Hello{Group: "g", Epoch: 1}
	sizes := map[redoubt.DiskID]uint64{1: 4096}
	if err := checkDelta(d, d.Sum(), h, sizes); err != nil || sizes[1] != 8192 {
		t.Errorf("after the growth: %v, %v", err, sizes)
	}
	early, err := build(zero, resize(1, redoubt.Extent{Off: 8192}))
	if err != nil {
		t.Fatal(err)
	}
	if err := checkDelta(early, early.Sum(), h, map[redoubt.DiskID]uint64{1: 4096}); !errors.Is(err, redoubt.ErrOutOfRange) {
		t.Errorf("before the growth: %v", err)
	}
	for _, bad := range []redoubt.Write{resize(0, redoubt.Extent{Off: 8192}), resize(1, redoubt.Extent{}), resize(1, redoubt.Extent{Off: 8192, Len: 512}),
		resize(1, redoubt.Extent{Off: 100}), resize(1, redoubt.Extent{Off: redoubt.MaxDiskSize + 512})} {
		if _, err := build(bad); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
