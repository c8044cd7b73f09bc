package journal

import (
	"errors"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// TestPreallocate reserves all segments at the first open: later appends make
// no file, also after a restart, and a disk without room is said at once.
func TestPreallocate(t *testing.T) {
	fs := vfs.NewMem()
	o := Options{FS: fs, SegmentSize: MinSegmentSize, MaxBytes: 4 * MinSegmentSize, Create: true, Preallocate: true, Start: redoubt.Position{Epoch: 1}}
	for range 2 {
		j, err := Open("j", o)
		if err != nil {
			t.Fatal(err)
		}
		if n := j.Stats().Files; n != 4 {
			t.Fatalf("%d segment files, want 4", n)
		}
		data := make([]byte, 64<<10)
		for range 20 {
			ws := []redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Len: uint64(len(data))}, Data: data, CRC: redoubt.Checksum(data)}}
			if err := j.Append(ws); err != nil {
				t.Fatal(err)
			}
		}
		if n := j.Stats().Files; n != 4 {
			t.Fatalf("%d segment files after appends, want 4", n)
		}
		if err := errors.Join(j.Sync(t.Context(), j.Head().LSN), j.SetApplied(j.Head().LSN), j.Close()); err != nil {
			t.Fatal(err)
		}
	}

	full := vfs.NewFault(vfs.NewMem(), 0, syscall.ENOSPC)
	probe := o
	probe.FS = full
	if j, err := Open("j", probe); err != nil {
		t.Fatal(err)
	} else if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	half := vfs.NewFault(vfs.NewMem(), full.Count()/2, syscall.ENOSPC)
	half.StayDown()
	probe.FS = half
	if _, err := Open("j", probe); !errors.Is(err, syscall.ENOSPC) || redoubt.Hint(err) == "" {
		t.Errorf("a full disk at the reservation: %v", err)
	}
}
