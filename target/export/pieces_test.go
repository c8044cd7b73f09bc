package export

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A disk of the largest size must open on a file system that has no such file,
// and a write may cross from one part to the next.
func TestOverlayOfTheLargestDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	o, err := OpenOverlay(path, zeroBase{}, redoubt.MaxDiskSize)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { o.Close() }()
	want := bytes.Repeat([]byte{7}, 3*overlayBlock)
	for _, off := range []uint64{0, pieceSize - overlayBlock, redoubt.MaxDiskSize - uint64(len(want))} {
		if err := o.WriteAt(want, off); err != nil {
			t.Fatalf("at %d: %v", off, err)
		}
	}
	if err := o.Zero(redoubt.Extent{Off: pieceSize, Len: overlayBlock}, false); err != nil {
		t.Fatal(err)
	}
	if err := o.Sync(); err != nil {
		t.Fatal(err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if o, err = OpenOverlay(path, zeroBase{}, redoubt.MaxDiskSize); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if err := o.ReadAt(got, redoubt.MaxDiskSize-uint64(len(want))); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("the end of the disk is not what was written (err %v)", err)
	}
	clear(want[overlayBlock : 2*overlayBlock])
	if err := o.ReadAt(got, pieceSize-overlayBlock); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("what crosses the parts is not what was written (err %v)", err)
	}
}

type zeroBase struct{}

func (zeroBase) ReadAt(p []byte, _ uint64) error {
	clear(p)
	return nil
}
