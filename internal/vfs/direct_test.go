package vfs

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestWriteDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	for _, fs := range []FS{OS, NewMem()} {
		_ = fs.MkdirAll(filepath.Dir(name), 0o700)
		f, err := fs.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteAt(make([]byte, 3*DirectAlign), 0); err != nil {
			t.Fatal(err)
		}
		p := AlignedBuffer(DirectAlign)
		for i := range p {
			p[i] = byte(i) | 1
		}
		n, err := f.(DirectWriter).WriteDirect(p, DirectAlign)
		if errors.Is(err, ErrNoDirect) {
			t.Log("no direct writes in ", filepath.Dir(name))
			continue
		}
		got := make([]byte, 3*DirectAlign)
		if _, rerr := f.ReadAt(got, 0); rerr != nil || err != nil || n != len(p) {
			t.Fatal(n, err, rerr)
		}
		zero := make([]byte, DirectAlign)
		if want := bytes.Join([][]byte{zero, p, zero}, nil); !bytes.Equal(got, want) {
			t.Errorf("%T: the page cache shows something else", fs)
		}
	}
}
