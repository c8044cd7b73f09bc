// Package coldcache makes a measurement begin with files that are on the disk only.
package coldcache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// Drop has the system forget what it has in memory of the files below dir, so
// that whoever reads first is not alone in reading from the disk.
func Drop(dir string) error {
	unix.Sync() // what is not written yet would stay
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil // a daemon removed it meanwhile
		}
		if err != nil {
			return err
		}
		return errors.Join(unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Close())
	})
}
