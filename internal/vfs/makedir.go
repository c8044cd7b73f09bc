package vfs

import (
	"errors"
	"io/fs"
	"path/filepath"
)

// MakeDir makes a folder, and the entries of the last deep elements of its path
// durable, also if they are there already: whoever made them may have been killed
// before the sync. Of what it makes itself every entry is durable, at any depth. A
// folder around it that it did not make and may not read is left to its owner. The
// folder has mode 0700.
func MakeDir(fsys FS, path string, deep int) error {
	made := 0
	for p := path; p != filepath.Dir(p); p = filepath.Dir(p) {
		if _, err := fsys.Stat(p); !errors.Is(err, fs.ErrNotExist) {
			break
		}
		made++
	}
	if err := fsys.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for i := range max(deep, made) {
		path = filepath.Dir(path)
		err := fsys.SyncDir(path)
		if i >= made && errors.Is(err, fs.ErrPermission) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}
