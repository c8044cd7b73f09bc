package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// extent is data that an image is given.
type extent struct {
	off uint64
	b   []byte
}

func extents(rng *rand.Rand, size uint64) (out []extent) {
	for at := uint64(0); at < size; {
		at += 512 * rng.Uint64N(1+rng.Uint64N(4096)) * rng.Uint64N(2)
		n := min(512*(1+rng.Uint64N(1+rng.Uint64N(2048))), 1<<20)
		if at >= size {
			break
		}
		b := make([]byte, min(n, size-at))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		out = append(out, extent{at, b})
		at += uint64(len(b))
	}
	return out
}

// An image is what it was given, with holes of any length between, whichever way
// it goes to the disk, and its hash is that of the whole of it.
func TestImageFile(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, name := range []string{"direct", "refused", "raw"} {
		t.Run(name, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			size := uint64(90<<20 + 512*rng.IntN(100))
			want := make([]byte, size)
			path := filepath.Join(t.TempDir(), "image")
			im, err := createImage(path, name != "raw", true, false)
			if err != nil {
				t.Fatal(err)
			}
			im.out.cached.Store(name == "refused")
			if err := im.Begin(&adminv1.PointHeader{Size: size}); err != nil {
				t.Fatal(err)
			}
			for _, e := range extents(rng, size) {
				copy(want[e.off:], e.b)
				if err := im.Data(e.off, e.b); err != nil {
					t.Fatal(err)
				}
				clear(e.b) // it is not kept
			}
			sum, err := im.finish()
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || !bytes.Equal(got, want) {
				t.Fatalf("the file is not what was written: %v", err)
			}
			if s := sha256.Sum256(want); sum != hex.EncodeToString(s[:]) {
				t.Fatalf("hash %s", sum)
			}
			if im.made > imageBlocks {
				t.Fatalf("%d blocks", im.made)
			}
		})
	}
}

// An image of nothing but zeros, and one of no bytes at all.
func TestImageFileOfZeros(t *testing.T) {
	for _, size := range []uint64{0, 512, 9<<20 + 512} {
		path := filepath.Join(t.TempDir(), "image")
		im, err := createImage(path, true, true, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := im.Begin(&adminv1.PointHeader{Size: size}); err != nil {
			t.Fatal(err)
		}
		sum, err := im.finish()
		if s := sha256.Sum256(make([]byte, size)); err != nil || sum != hex.EncodeToString(s[:]) {
			t.Fatalf("%d bytes: %s, %v", size, sum, err)
		}
	}
}

// While neither the disk nor the hash goes on, no more than all blocks are taken.
func TestImageFileHoldsBack(t *testing.T) {
	im := &imageFile{free: make(chan *imageBlock, imageBlocks), writes: make(chan *imageBlock, imageBlocks), head: &adminv1.PointHeader{},
		synced: 1 << 62, seen: func(uint64, uint64, uint64) {}}
	data := make([]byte, 512)
	done := make(chan error)
	go func() {
		for i := range uint64(imageBlocks + 1) {
			if err := im.Data(i*imageBlockBytes, data); err != nil {
				done <- err
			}
		}
		close(done)
	}()
	for range imageBlocks {
		k := <-im.writes
		select {
		case <-done:
			t.Fatal("more blocks than there are")
		default:
		}
		if k.at/imageBlockBytes == imageBlocks-1 { // the last one that there is: now it must wait
			im.release(k)
		}
	}
	if err := <-done; err != nil || im.made != imageBlocks {
		t.Fatalf("%d blocks: %v", im.made, err)
	}
}
