package blockdev

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// ListenUnix listens on a unix socket that only this user can reach: its
// directory is created with mode 0700 if it is missing, the socket has mode
// 0600. A socket that a dead process left behind is removed; one that answers
// is redoubt.ErrExists.
func ListenUnix(path string) (net.Listener, error) {
	fail := func(err error, hint string) (net.Listener, error) {
		return nil, &redoubt.Error{Op: "listen", Object: path, Hint: hint, Err: err}
	}
	if len(path) > 107 {
		return fail(fmt.Errorf("path of a unix socket is longer than 107 bytes: %w", redoubt.ErrInvalid), "choose a shorter directory")
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err, "")
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode()&os.ModeSocket == 0 {
			return fail(fmt.Errorf("not a socket: %w", redoubt.ErrExists), "")
		}
		if nc, err := net.DialTimeout("unix", path, time.Second); err == nil {
			nc.Close()
			return fail(fmt.Errorf("another process serves it: %w", redoubt.ErrExists), "is another redoubtd running?")
		}
		if err := os.Remove(path); err != nil {
			return fail(err, "")
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return fail(err, "")
	}
	// Between Listen and Chmod the directory's mode protects the socket.
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return fail(err, "")
	}
	return l, nil
}

// isResource tells a lack of descriptors or memory from a broken listener.
func isResource(err error) bool {
	for _, e := range []error{unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM, unix.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
