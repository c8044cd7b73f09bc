package vfs

import (
	"errors"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"
)

func readAll(t *testing.T, fs FS, name string) string {
	t.Helper()
	f, err := fs.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, n)
	if _, err := f.ReadAt(b, 0); err != nil && n > 0 {
		t.Fatal(err)
	}
	return string(b)
}

// TestWriteAtomic fails each operation in turn and cuts the power: the file
// holds the old content or the new, and the new if no error was returned.
func TestWriteAtomic(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for n := int64(1); ; n++ {
		mem := NewMem()
		if err := errors.Join(mem.MkdirAll("d", 0o700), mem.SyncDir("."), WriteAtomic(mem, "d/f", []byte("old, and longer"))); err != nil {
			t.Fatal(err)
		}
		err := WriteAtomic(NewFault(mem, n, syscall.EIO), "d/f", []byte("new"))
		got := readAll(t, mem.Crash(rng), "d/f")
		if err == nil {
			if got != "new" {
				t.Errorf("no error, and the file holds %q", got)
			}
			return
		}
		if got != "old, and longer" && got != "new" {
			t.Errorf("operation %d failed, and the file holds %q", n, got)
		}
	}
}
