package blockdev

import (
	"bytes"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// halting is a Backing whose next read stops in the middle of its range.
type halting struct {
	*memBacking
	halt   atomic.Bool
	resume chan struct{}
}

func (h *halting) ReadAt(p []byte, off uint64) error {
	if !h.halt.CompareAndSwap(true, false) {
		return h.memBacking.ReadAt(p, off)
	}
	half := len(p) / 2
	if err := h.memBacking.ReadAt(p[:half], off); err != nil {
		return err
	}
	<-h.resume
	return h.memBacking.ReadAt(p[half:], off+uint64(half))
}

// TestReadDuringApply stops a read of the backing in the middle of a sector,
// and meanwhile writes and applies that sector. The reader must not see half of
// each, and must not wait for anything but the disk.
func TestReadDuringApply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil)
		r.g.abandon()
		h := &halting{memBacking: newMemBacking(64<<10, nil), resume: make(chan struct{})}
		var err error
		if r.g, err = OpenGroup(r.j, []Member{{redoubt.Disk{ID: 1, Name: "d", Size: 64 << 10}, h}}, GroupOptions{ApplyInterval: time.Hour}); err != nil {
			t.Fatal(err)
		}
		v := r.g.Volumes()[0]
		old, young := bytes.Repeat([]byte{1}, 512), bytes.Repeat([]byte{2}, 512)
		if err := v.Write(old, 4096, false); err != nil {
			t.Fatal(err)
		}
		if err := r.g.Drain(background); err != nil {
			t.Fatal(err)
		}
		h.halt.Store(true)
		p, read := make([]byte, 512), make(chan struct{})
		go func() {
			if err := v.ReadAt(p, 4096); err != nil {
				t.Error(err)
			}
			close(read)
		}()
		synctest.Wait() // the reader stands in the middle
		if err := v.Write(young, 4096, false); err != nil {
			t.Fatal(err)
		}
		drained := make(chan error, 1)
		go func() { drained <- r.g.Drain(background) }()
		synctest.Wait() // the applier has written the sector
		if b := make([]byte, 512); h.memBacking.ReadAt(b, 4096) != nil || !bytes.Equal(b, young) {
			t.Fatal("the applier has not written: the test does not test")
		}
		// Other reads and writes go on.
		q := make([]byte, 1024)
		if err := v.ReadAt(q, 4096-512); err != nil || !bytes.Equal(q[512:], young) {
			t.Errorf("a second reader: %v", err)
		}
		if err := v.Write(young, 0, false); err != nil {
			t.Error(err)
		}
		close(h.resume)
		<-read
		if !bytes.Equal(p, old) && !bytes.Equal(p, young) {
			t.Errorf("torn: begins with %d, ends with %d", p[0], p[511])
		}
		if err := <-drained; err != nil {
			t.Error(err)
		}
		r.close(t)
	})
}
