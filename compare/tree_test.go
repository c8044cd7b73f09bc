package compare

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func TestRootDependsOnContentOnly(t *testing.T) {
	root := func(change func(w *world)) Sum {
		w := newWorld(t, bigDisk, smallDisk)
		w.write(seeded.By(7), 300, bigDisk)
		w.ship(0)
		change(w)
		r, err := Root(context.Background(), &image{w, w.committed, w.there, w.disks}, time.Now, func(uint64, uint64) {})
		noErr(t, err)
		return r.Root
	}
	plain := root(func(*world) {})
	if zeros := root(func(w *world) { w.there[1][blocks(bigDisk)-1] = new(block); w.there[2][700] = new(block) }); zeros != plain && plain == root(func(*world) {}) {
		t.Error("zeros that are stored change the root")
	}
	if bit := root(func(w *world) { w.there[2][5] = &block{511: 1} }); bit == plain {
		t.Error("a bit does not change the root")
	}
	if size := root(func(w *world) { w.disks[1].Size += 512 }); size == plain {
		t.Error("the size does not change the root")
	}
	if moved := root(func(w *world) {
		w.there[1], w.there[2] = w.there[2], w.there[1]
		w.disks[0].Size, w.disks[1].Size = smallDisk, bigDisk
	}); moved == plain {
		t.Error("the disk's number does not change the root")
	}
}

// The verification finds the root that the secondary alone finds.
func TestSameRootBothWays(t *testing.T) {
	w := newWorld(t, bigDisk, smallDisk)
	w.write(seeded.Rand(t), 300, bigDisk)
	w.ship(0)
	alone, err := Root(context.Background(), &image{w, w.committed, w.there, w.disks}, time.Now, func(uint64, uint64) {})
	noErr(t, err)
	r, err := w.verify(context.Background(), w.options())
	noErr(t, err)
	if r.Root != alone.Root || alone.Compared {
		t.Errorf("root %s, alone %s", r.Root, alone.Root)
	}
}

func TestTreeFindsTheLeaf(t *testing.T) {
	rng := seeded.Rand(t)
	p := make([]byte, ChunkSize)
	for i := range p {
		p[i] = byte(rng.Uint32())
	}
	h := newHasher()
	var a, b Tree
	h.tree(p, &a)
	for range 50 {
		at := rng.IntN(len(p))
		p[at] ^= 0x10
		h.tree(p, &b)
		p[at] ^= 0x10
		for l := range chunkLeafs {
			if (a.leaves[l] != b.leaves[l]) != (l == at/LeafSize) {
				t.Fatalf("byte %d and leaf %d", at, l)
			}
		}
		if a.Sum == b.Sum || a.nodes[at/nodeSize] == b.nodes[at/nodeSize] {
			t.Fatalf("byte %d does not reach the top", at)
		}
	}
	// What lies beyond the end counts as zeros.
	short := p[:ChunkSize-3*LeafSize+512]
	long := append(bytes.Clone(short), make([]byte, ChunkSize-len(short))...)
	h.tree(short, &a)
	h.tree(long, &b)
	if a != b {
		t.Error("a chunk that ends early is not one with zeros")
	}
}

func FuzzRuns(f *testing.F) {
	zero := newHasher().zero.Sum
	f.Add([]byte{runZeros, 3, 0, 0, 0})
	f.Add(appendRuns(nil, []Sum{zero, {1}, {2}, zero}, zero))
	f.Fuzz(func(t *testing.T, b []byte) {
		out := make([]Sum, 4)
		if decodeRuns(b, zero, out) == nil {
			again := make([]Sum, 4)
			if err := decodeRuns(appendRuns(nil, out, zero), zero, again); err != nil || again[0] != out[0] || again[3] != out[3] {
				t.Fatalf("%v: %v", out, err)
			}
		}
	})
}

func FuzzQuestions(f *testing.F) {
	f.Add(sumsAsked{1, 2, 3, 4}.encode())
	f.Add(encodeWants(1, 2, []want{{3, 4}, {5, 0}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if q, err := decodeSums(b); err == nil && !bytes.Equal(q.encode(), b) {
			t.Fatalf("%+v", q)
		}
		slot, d, ws, err := decodeWants(b)
		if err == nil && !bytes.Equal(encodeWants(slot, d, ws), b) {
			t.Fatalf("%+v", ws)
		}
		if len(ws) > WindowChunks {
			t.Fatal(len(ws))
		}
	})
}

func BenchmarkTree(b *testing.B) {
	p := bytes.Repeat([]byte("redoubt!"), ChunkSize/8)
	h := newHasher()
	var t Tree
	b.SetBytes(ChunkSize)
	for b.Loop() {
		h.tree(p, &t)
	}
}
