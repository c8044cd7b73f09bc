package check

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestScratchFoldersAreUnmountedAndRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	dir := filepath.Join(t.TempDir(), "scratch")
	inner := filepath.Join(dir, "a b", "deeper")
	for _, p := range []string{filepath.Join(dir, "a b"), inner} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount("tmpfs", p, "tmpfs", 0, "size=64k"); err != nil {
			t.Skipf("this host mounts no tmpfs: %v", err)
		}
	}
	held, err := os.Create(filepath.Join(filepath.Dir(inner), "held")) // busy
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	if m, err := mountsBelow(dir); err != nil || len(m) != 2 {
		t.Fatalf("mounts %q, %v", m, err)
	}
	if err := dropScratch(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
	if m, err := mountsBelow(filepath.Dir(dir)); err != nil || len(m) != 0 {
		t.Errorf("mounts %q, %v", m, err)
	}
	if err := dropScratch(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
}
