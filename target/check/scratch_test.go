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
	if m, err := mountsAt(dir); err != nil || len(m) != 2 {
		t.Fatalf("mounts %q, %v", m, err)
	}
	if err := dropScratch(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
	if m, err := mountsAt(filepath.Dir(dir)); err != nil || len(m) != 0 {
		t.Errorf("mounts %q, %v", m, err)
	}
	if err := dropScratch(dir); err != nil {
		t.Errorf("a second time: %v", err)
	}
}

// TestWhatIsMountedOnTheScratchFolderItselfIsNotRemoved has a script that binds
// a folder of the host there.
func TestWhatIsMountedOnTheScratchFolderItselfIsNotRemoved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	host := t.TempDir()
	kept := filepath.Join(host, "kept")
	if err := os.WriteFile(kept, []byte("of the host"), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "scratch")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(host, dir, "", unix.MS_BIND, ""); err != nil {
		t.Skipf("this host binds no folder: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	if err := dropScratch(dir); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(kept); err != nil {
		t.Errorf("a file of the host: %v", err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the folder is there: %v", err)
	}
}
