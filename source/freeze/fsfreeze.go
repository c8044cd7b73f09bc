package freeze

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// The requests of linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	fiFreeze = 0xC0045877
	fiThaw   = 0xC0045878
)

// freezeMount writes the file system at path out and holds further writes back.
// It blocks as long as the disk behind it needs. EBUSY: it is frozen already,
// by somebody else.
func freezeMount(path string) error {
	err := request(path, fiFreeze)
	switch {
	case errors.Is(err, unix.EBUSY):
		return mountError("freeze", path, err, "somebody else has frozen it; fsfreeze --unfreeze if nobody knows who")
	case errors.Is(err, unix.EOPNOTSUPP):
		return mountError("freeze", path, err, "this file system cannot be frozen")
	case err != nil:
		return mountError("freeze", path, err, "freezing needs CAP_SYS_ADMIN")
	}
	return nil
}

// thawMount lets the file system at path go on. One that is not frozen, or is
// not mounted any more, is as good.
func thawMount(path string) error {
	err := request(path, fiThaw)
	if err == nil || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOTTY) {
		return nil
	}
	return mountError("thaw", path, err, "fsfreeze --unfreeze "+path+" by hand, now")
}

func request(path string, req uint) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	return unix.IoctlSetInt(int(f.Fd()), req, 0)
}

// checkMount refuses what is no mount point, and file systems that the daemon
// itself writes to.
func checkMount(path string, own []string) error {
	var here, above unix.Stat_t
	if err := errors.Join(unix.Lstat(path, &here), unix.Lstat(filepath.Dir(path), &above)); err != nil {
		return mountError("freeze", path, err, "")
	}
	if path == "/" || here.Dev == above.Dev {
		return mountError("freeze", path, fmt.Errorf("not a mount point of its own: %w", redoubt.ErrInvalid), "the file system that holds / is never frozen: the daemon could not go on")
	}
	for _, p := range own {
		for p = filepath.Clean(p); ; p = filepath.Dir(p) {
			var st unix.Stat_t
			if err := unix.Stat(p, &st); err == nil {
				if st.Dev == here.Dev {
					return mountError("freeze", path, fmt.Errorf("%s lies on it: %w", p, redoubt.ErrInvalid), "the daemon writes there while it is frozen: put one of them elsewhere")
				}
				break
			}
			if p == "/" || p == "." {
				break
			}
		}
	}
	return nil
}

func mountError(op, path string, err error, hint string) error {
	return &redoubt.Error{Op: op + " file system", Object: path, Err: err, Hint: hint}
}
