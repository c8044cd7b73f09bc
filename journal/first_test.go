package journal

import (
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// tally counts the bytes written to segment files.
type tally struct {
	vfs.FS
	mu sync.Mutex
	by map[string]int64
}

type tallied struct {
	vfs.File
	t *tally
}

func (t *tally) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := t.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.Contains(name, "seg-") {
		return f, err
	}
	return &tallied{f, t}, nil
}

func (f *tallied) add(n int) {
	f.t.mu.Lock()
	f.t.by[f.Name()] += int64(n)
	f.t.mu.Unlock()
}

func (f *tallied) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	f.add(n)
	return n, err
}

func (f *tallied) WritevAt(bufs [][]byte, off int64) (int, error) {
	n, err := f.File.WritevAt(bufs, off)
	f.add(n)
	return n, err
}

func (t *tally) written() (files int, bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range t.by {
		bytes += n
	}
	return len(t.by), bytes
}

// Nobody waits for a file of zeros before the first record, and the next file
// is pre-written once the first one has begun to fill.
func TestFirstFile(t *testing.T) {
	fs := &tally{FS: vfs.NewMem(), by: map[string]int64{}}
	w := newWorld(t, 1, fs)
	w.mustOpen()
	w.flushed(zeros(4096))
	if files, n := fs.written(); files != 1 || n > 64<<10 {
		t.Errorf("%d bytes are written to %d segment files for the first record", n, files)
	}
	for range 8 { // below an eighth
		w.flushed(zeros(512))
	}
	if files, n := fs.written(); files != 1 {
		t.Errorf("%d bytes are written to %d segment files before an eighth is full", n, files)
	}
	w.flushed(zeros(256 << 10))
	for end := time.Now().Add(30 * time.Second); len(w.spares()) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("no file is made ahead")
		}
	}
	if files, n := fs.written(); files != 2 || n < MinSegmentSize {
		t.Errorf("%d bytes are written to %d segment files; the second was to be pre-written", n, files)
	}
	head := w.j.Head()
	if err := w.j.Close(); err != nil {
		t.Error(err)
	}
	w.mustOpen()
	defer w.j.Close()
	if again := w.j.Head(); again != head {
		t.Errorf("the head is %s after a restart, was %s", again, head)
	}
}
