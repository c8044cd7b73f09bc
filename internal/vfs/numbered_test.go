package vfs

import (
	"os"
	"slices"
	"testing"
)

// Files are listed by rising number, and nothing else of the folder is.
func TestNumberedFiles(t *testing.T) {
	const logs = Numbered(".log")
	fs := NewMem()
	if err := fs.MkdirAll("/d", 0o700); err != nil {
		t.Fatal(err)
	}
	want := []uint64{0, 7, 1 << 40, 1<<64 - 1}
	names := []string{"/d/1.log", "/d/00000000000000zz.log", "/d/0000000000000001.tmp", "/d/+000000000000001.log", "/d/00000000000000001.log"}
	for _, n := range want {
		names = append(names, logs.Name("/d", n))
	}
	for _, n := range names {
		f, err := fs.OpenFile(n, os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if got, err := logs.List(fs, "/d"); err != nil || !slices.Equal(got, want) {
		t.Errorf("%x, %v; want %x", got, err, want)
	}
	if _, err := logs.List(fs, "/none"); err == nil {
		t.Error("a folder that is not there has files")
	}
}
