package vfs

import (
	"errors"
	"os"
	"path/filepath"
)

// WriteAtomic makes path hold data, durably: after a crash it holds the old
// content or the new, whole. The file has mode 0600. The folder must exist.
func WriteAtomic(fs FS, path string, data []byte) error {
	tmp := path + ".new"
	f, err := fs.OpenFile(tmp, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := fs.Rename(tmp, path); err != nil {
		return err
	}
	return fs.SyncDir(filepath.Dir(path))
}
