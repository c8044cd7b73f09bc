package export

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// image is a Base that holds its bytes.
type image []byte

func (m image) ReadAt(p []byte, off uint64) error { copy(p, m[off:]); return nil }

func openTest(t *testing.T, dir string, base image) *Overlay {
	t.Helper()
	o, err := OpenOverlay(filepath.Join(dir, "disk"), base, uint64(len(base)))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// TestOverlayFollowsModel writes and zeroes at random, reopens now and then,
// and compares the whole disk with a plain byte slice.
func TestOverlayFollowsModel(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	base := make(image, 1<<20-512) // the last block is not whole
	for i := range base {
		base[i] = byte(rng.Uint32())
	}
	model := bytes.Clone(base)
	dir := t.TempDir()
	o := openTest(t, dir, base)
	for step := range 2000 {
		e := redoubt.Extent{Off: uint64(rng.IntN(len(base)/512)) * 512}
		e.Len = min(uint64(len(base))-e.Off, uint64(1+rng.IntN(40))*512)
		switch rng.IntN(10) {
		case 0:
			if err := o.Zero(e, true); err != nil {
				t.Fatal(err)
			}
			clear(model[e.Off:e.End()])
		case 1:
			if err := o.Sync(); err != nil {
				t.Fatal(err)
			}
			if step%5 == 0 {
				if err := o.Close(); err != nil {
					t.Fatal(err)
				}
				o = openTest(t, dir, base)
			}
		default:
			p := make([]byte, e.Len)
			for i := range p {
				p[i] = byte(rng.Uint32())
			}
			if err := o.WriteAt(p, e.Off); err != nil {
				t.Fatal(err)
			}
			copy(model[e.Off:], p)
		}
		if step%100 == 0 {
			got := make([]byte, len(base))
			if err := o.ReadAt(got, 0); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(got, model) {
				t.Fatalf("step %d: the disk differs from the model", step)
			}
		}
	}
	if err := o.ReadAt(make([]byte, 2), uint64(len(base)-1)); !errors.Is(err, redoubt.ErrOutOfRange) {
		t.Errorf("read over the end: %v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestOverlayForgetsWhatWasNotSynced shows that the log, not the data file,
// decides which blocks are the overlay's own.
func TestOverlayForgetsWhatWasNotSynced(t *testing.T) {
	base := make(image, 64<<10)
	dir := t.TempDir()
	o := openTest(t, dir, base)
	ones := bytes.Repeat([]byte{1}, overlayBlock)
	if err := errors.Join(o.WriteAt(ones, 0), o.Sync(), o.WriteAt(ones, overlayBlock), o.Close()); err != nil {
		t.Fatal(err)
	}
	o = openTest(t, dir, base)
	defer o.Close()
	got := make([]byte, 2*overlayBlock)
	if err := o.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got[:overlayBlock], ones) || !bytes.Equal(got[overlayBlock:], base[:overlayBlock]) {
		t.Error("the synced block must be the overlay's, the other the base's")
	}
}

func TestAllocLogStopsAtDamage(t *testing.T) {
	dir := t.TempDir()
	base := make(image, 64<<10)
	o := openTest(t, dir, base)
	ones := bytes.Repeat([]byte{1}, overlayBlock)
	if err := errors.Join(o.WriteAt(ones, 0), o.Sync(), o.WriteAt(ones, 8*overlayBlock), o.Sync(), o.Close()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "disk.alloc")
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lastBatch := len(b) - batchHeader - batchRun
	for i := range b {
		flipped := bytes.Clone(b)
		flipped[i] ^= 0x10
		own, _, err := parseAllocLog(flipped)
		switch {
		case i < lastBatch && err == nil:
			t.Fatalf("a flipped bit in byte %d, below a good batch, goes unnoticed", i)
		case i >= lastBatch && (err != nil || own.GetCardinality() != 1):
			t.Fatalf("a flipped bit in byte %d of the last batch: %v, %d blocks; want it cut off", i, err, own.GetCardinality())
		}
	}
}

func FuzzParseAllocLog(f *testing.F) {
	f.Add([]byte(allocMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		own, end, err := parseAllocLog(b)
		if err == nil && (end > int64(len(b)) || !own.IsEmpty() && own.Maximum() >= allocMaxBlock) {
			t.Errorf("end %d of %d, highest block %d", end, len(b), own.Maximum())
		}
	})
}
