package target

import (
	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// freeSpace returns the bytes that an unprivileged process may still write to
// the file system that holds dir.
func freeSpace(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, &redoubt.Error{Op: "look for free space", Object: dir, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), nil
}
