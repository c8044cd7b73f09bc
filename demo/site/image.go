package site

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
)

// FindTree returns a folder of real files of this host whose content is 40 to
// 190 MB: the Go sources, or documentation, or another part of /usr.
func FindTree() (string, error) {
	candidates := []string{"/usr/local/go/src", "/usr/lib/go/src", "/usr/share/doc", "/usr/share/locale", "/usr/share/man", "/usr/include", "/usr/share", "/usr/lib"}
	for _, dir := range candidates {
		if n := treeSize(dir, 190<<20); n >= 40<<20 && n <= 190<<20 {
			return dir, nil
		}
	}
	return "", errors.New("no folder of 40 to 190 MB of real files found; tried " + fmt.Sprint(candidates))
}

// treeSize adds up file sizes, in blocks of 4 KiB, and gives up above limit.
func treeSize(dir string, limit int64) (total int64) {
	stop := errors.New("enough")
	filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if fi, err := d.Info(); err == nil && fi.Mode().IsRegular() {
			total += (fi.Size() + 4095) &^ 4095
		}
		if total > limit {
			return stop
		}
		return nil
	})
	return total
}

// MakeExt4 makes an image of size bytes with an ext4 file system that holds a
// copy of the folder tree.
func MakeExt4(ctx context.Context, path, tree string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		return err
	}
	_, err = command(ctx, "mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", "-d", tree, path)
	return err
}

// MakeRaw makes an image of size bytes: seeded random data with a hole of a
// third of it in the middle.
func MakeRaw(path string, size int64, seed uint64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Truncate(size); err != nil {
		return err
	}
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	src := rand.NewChaCha8(key)
	third := size / 3 &^ 4095
	for _, off := range []int64{0, 2 * third} {
		n := third
		if off > 0 {
			n = size - off
		}
		if _, err := io.CopyN(io.NewOffsetWriter(f, off), src, n); err != nil {
			return err
		}
	}
	return f.Close()
}

// CopyFile copies an image; holes stay holes.
func CopyFile(ctx context.Context, from, to string) error {
	_, err := command(ctx, "cp", "--sparse=always", from, to)
	return err
}

// CheckExt4 replays the journal of an ext4 image, as the first mount after a
// power cut would, and then has e2fsck look at all of it without changing it.
// It changes the image: give it a copy.
func CheckExt4(ctx context.Context, image string) error {
	if err := replay(ctx, image); err != nil {
		return fmt.Errorf("journal replay: %w", err)
	}
	if _, err := command(ctx, "e2fsck", "-f", "-n", image); err != nil {
		return fmt.Errorf("the file system is damaged: %w", err)
	}
	return nil
}

// replay lets the kernel do it where it may, else e2fsck.
func replay(ctx context.Context, image string) error {
	if CanMount() != nil {
		_, err := command(ctx, "e2fsck", "-p", image)
		var exit *exec.ExitError
		if errors.As(err, &exit) && exit.ExitCode() == 1 {
			return nil // 1: the journal was replayed, orphans were let go
		}
		return err
	}
	dir, err := os.MkdirTemp("", "replay")
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	if _, err := command(ctx, "mount", "-t", "ext4", "-o", "loop", image, dir); err != nil {
		return err
	}
	_, err = command(ctx, "umount", dir)
	return err
}
