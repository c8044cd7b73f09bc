package blockdev

import (
	"bytes"
	"io"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// fileRig is a group of memory disks over a journal in real files, so that what is
// allocated, and how long it takes, is the product's.
func fileRig(t *testing.T, o GroupOptions, sizes ...int) *rig {
	t.Helper()
	r := &rig{o: o}
	for _, n := range sizes {
		r.disks = append(r.disks, newMemBacking(n, nil))
	}
	var err error
	if r.j, err = journal.Open(filepath.Join(t.TempDir(), "j"), journal.Options{Create: true, MaxBytes: 256 << 20, Start: redoubt.Position{Epoch: 1}}); err != nil {
		t.Fatal(err)
	}
	r.openGroup(t)
	return r
}

// The way of a write and of a read from the socket to the answer: a batch of
// requests allocates no more than one chunk in a while.
func TestRequestsDoNotAllocate(t *testing.T) {
	if raceOn {
		t.Skip("the race detector allocates")
	}
	// Nothing is applied meanwhile.
	sv := serve(t, ServerOptions{}, fileRig(t, GroupOptions{ApplyInterval: time.Hour, SyncInterval: time.Hour}, 1<<20))
	c := sv.client(t, "d1")
	const n = 16
	data := bytes.Repeat([]byte{7}, 4096)
	var writes, reads, mixed []byte
	for i := range uint64(n) {
		w := append(header(0, cmdWrite, i, i*4096, 4096), data...)
		r := header(0, cmdRead, i, i*4096, 4096)
		writes, reads = append(writes, w...), append(reads, r...)
		mixed = append(mixed, w...)
	}
	mixed = append(mixed, header(0, cmdFlush, n, 0, 0)...)
	answers := make([]byte, n*(simpleLen+4096))
	for _, b := range []struct {
		name    string
		request []byte
		answer  int
		most    float64
	}{
		{"16 writes", writes, n * simpleLen, 0},
		{"16 reads", reads, n * (simpleLen + 4096), 0},
		{"16 writes and a flush", mixed, (n + 1) * simpleLen, 3},
	} {
		step := func() {
			c.send(b.request)
			if _, err := io.ReadFull(c.nc, answers[:b.answer]); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 { // brings the buffers to size
			step()
		}
		var got []float64
		for range 5 { // the least of them: a round of something else may fall into one
			got = append(got, testing.AllocsPerRun(20, step))
		}
		t.Logf("%s: %.1f allocations", b.name, slices.Min(got))
		if slices.Min(got) > b.most {
			t.Errorf("%s: %.1f allocations, want %.1f", b.name, slices.Min(got), b.most)
		}
	}
}
