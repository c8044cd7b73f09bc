package vfs

import "path/filepath"

// MakeDir makes a folder, and the entries of the last deep elements of its path
// durable, also if they are there already: whoever made them may have been killed
// before the sync. The folder has mode 0700.
func MakeDir(fs FS, path string, deep int) error {
	if err := fs.MkdirAll(path, 0o700); err != nil {
		return err
	}
	for range deep {
		path = filepath.Dir(path)
		if err := fs.SyncDir(path); err != nil {
			return err
		}
	}
	return nil
}
