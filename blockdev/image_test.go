package blockdev

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// newImage makes a sparse image file of size bytes.
func newImage(t testing.TB, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "disk.img")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestImageContent(t *testing.T) {
	const size = 8 << 20
	im, err := OpenImage(newImage(t, size), size)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	model := make([]byte, size)
	put := func(fill byte, off, n int) {
		copy(model[off:off+n], bytes.Repeat([]byte{fill}, n))
	}
	check := func(what string) {
		t.Helper()
		got := make([]byte, size)
		if err := im.ReadAt(got, 0); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, model) {
			t.Fatalf("content differs after %s", what)
		}
	}
	put(1, 1<<20, 3<<20)
	if err := im.WriteAt(bytes.Repeat([]byte{1}, 3<<20), 1<<20); err != nil {
		t.Fatal(err)
	}
	check("write")
	put(2, 5<<20, 8192)
	put(3, 5<<20+8192, 512)
	if err := im.WritevAt([][]byte{bytes.Repeat([]byte{2}, 8192), bytes.Repeat([]byte{3}, 512)}, 5<<20); err != nil {
		t.Fatal(err)
	}
	check("writev")
	for _, punch := range []bool{true, false} {
		for _, e := range []redoubt.Extent{{Off: 2 << 20, Len: 1 << 20}, {Off: 1<<20 + 512, Len: 1024}, {Off: 5<<20 + 8192, Len: 512}} {
			put(0, int(e.Off), int(e.Len))
			if err := im.Zero(e, punch); err != nil {
				t.Fatal(err)
			}
			check("zero " + e.String())
		}
	}
	// The same where the file system can do nothing.
	im.noPunch.Store(true)
	im.noZero.Store(true)
	put(0, 1<<20+4096, 700<<10)
	if err := im.Zero(redoubt.Extent{Off: 1<<20 + 4096, Len: 700 << 10}, true); err != nil {
		t.Fatal(err)
	}
	check("zeros written")
	if err := im.Sync(); err != nil {
		t.Fatal(err)
	}
	if p := make([]byte, 512); im.TryReadAt(p, 5<<20) && p[0] != 2 {
		t.Error("quick read returned something else")
	}
	if err := im.ReadAt(make([]byte, 512), size-100); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("reading past the end: %v", err)
	}
}

func TestImageHoles(t *testing.T) {
	path := newImage(t, 16<<20)
	im, err := OpenImage(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer im.Close()
	var st unix.Statfs_t
	if unix.Statfs(path, &st) == nil && im.WriteAt([]byte{1}, 4<<20) == nil && im.Sync() == nil {
		if d, ok := im.NextData(0); !ok || d.Off == 0 {
			t.Skipf("the file system of type %#x does not tell its holes", st.Type)
		}
	}
	if err := im.WriteAt(bytes.Repeat([]byte{1}, 1<<20), 4<<20); err != nil {
		t.Fatal(err)
	}
	if err := im.WriteAt(bytes.Repeat([]byte{1}, 1<<20), 15<<20); err != nil {
		t.Fatal(err)
	}
	want := []redoubt.Extent{{Off: 4 << 20, Len: 1 << 20}, {Off: 15 << 20, Len: 1 << 20}}
	if got := slices.Collect(im.Data(redoubt.Extent{Len: 16 << 20})); !slices.Equal(got, want) {
		t.Errorf("data at %v, want %v", got, want)
	}
	if got := slices.Collect(im.Data(redoubt.Extent{Off: 4<<20 + 4096, Len: 4096})); !slices.Equal(got, []redoubt.Extent{{Off: 4<<20 + 4096, Len: 4096}}) {
		t.Errorf("data inside: %v", got)
	}
	if err := im.Zero(redoubt.Extent{Off: 4 << 20, Len: 1 << 20}, true); err != nil {
		t.Fatal(err)
	}
	if d, ok := im.NextData(0); !ok || d.Off != 15<<20 {
		t.Errorf("after punching: %v %v", d, ok)
	}
}

func TestImageRefuses(t *testing.T) {
	path := newImage(t, 1<<20)
	if _, err := OpenImage(path, 2<<20); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("another size: %v", err)
	}
	im, err := OpenImage(path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := OpenImage(path, 0); !errors.Is(err, redoubt.ErrState) || redoubt.Hint(err) == "" {
		t.Errorf("a second time: %v", err)
	}
	im.Close()
	if err := im.WriteAt(make([]byte, 512), 0); !errors.Is(err, redoubt.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if _, err := OpenImage(newImage(t, 1000), 0); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("odd size: %v", err)
	}
	if _, err := OpenImage(t.TempDir(), 0); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("directory: %v", err)
	}
	if _, err := OpenImage(path+"x", 0); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("missing: %v", err)
	}
}
