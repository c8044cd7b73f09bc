package check

import (
	"bufio"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// dropScratch unmounts dir and what lies below it, and removes it. A file system that is
// still busy is detached: it goes when its last user has.
func dropScratch(dir string) error {
	mounts, err := mountsAt(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range slices.Backward(mounts) { // the last mounted first
		if err := unix.Unmount(m, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil {
			errs = append(errs, &redoubt.Error{Op: "unmount", Object: m, Err: err, Hint: "umount it by hand; a recovery check has left it"})
		}
	}
	if len(errs) > 0 { // never remove files through a mount
		return errors.Join(errs...)
	}
	return os.RemoveAll(dir)
}

// mountsAt lists dir, if something is mounted on it, and the mount points in it, in the order in which they came.
func mountsAt(dir string) (out []string, err error) {
	dir, err = filepath.EvalSymlinks(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	s := bufio.NewScanner(f)
	for s.Scan() {
		p := strings.Fields(s.Text())
		if len(p) < 5 {
			continue
		}
		if m := unescape(p[4]); m == dir || strings.HasPrefix(m, dir+"/") {
			out = append(out, m)
		}
	}
	return out, s.Err()
}

// unescape reads the octal escapes of proc_pid_mountinfo(5).
func unescape(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if n, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
