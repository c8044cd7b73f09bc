package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// ListenUnix listens on the admin socket: mode 0600, in a folder that is made
// with mode 0700 if it is missing. A stale socket is removed; one that still
// answers, or a file of another kind, is refused with redoubt.ErrExists.
func ListenUnix(path string) (net.Listener, error) {
	fail := func(err error, hint string) (net.Listener, error) {
		return nil, &redoubt.Error{Op: "listen on admin socket", Object: path, Err: err, Hint: hint}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fail(err, "")
	}
	if st, err := os.Lstat(path); err == nil {
		if st.Mode().Type() != fs.ModeSocket {
			return fail(fmt.Errorf("not a socket: %w", redoubt.ErrExists), "remove the file or choose another run_dir")
		}
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			_ = c.Close()
			return fail(fmt.Errorf("a daemon answers there: %w", redoubt.ErrExists), "stop the other redoubtd or choose another run_dir")
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fail(err, "")
		}
	}
	// The socket gets its mode from a folder that nobody else can enter and is
	// moved into place then: between bind and chmod it would be open to all.
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".admin-")
	if err != nil {
		return fail(err, "")
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: filepath.Join(tmp, "s")})
	if err != nil {
		return fail(err, "a socket's path holds at most about 100 characters")
	}
	l.SetUnlinkOnClose(false)
	if err = os.Chmod(filepath.Join(tmp, "s"), 0o600); err == nil {
		err = os.Rename(filepath.Join(tmp, "s"), path)
	}
	if err != nil {
		_ = l.Close()
		return fail(err, "")
	}
	return &unixListener{UnixListener: l, path: path}, nil
}

// unixListener removes the socket where it lies, not where it was bound.
type unixListener struct {
	*net.UnixListener
	path string
	stay atomic.Bool
}

// SetUnlinkOnClose says whether Close removes the socket; it does by default.
func (l *unixListener) SetUnlinkOnClose(unlink bool) { l.stay.Store(!unlink) }

// Close stops listening and removes the socket.
func (l *unixListener) Close() error {
	err := l.UnixListener.Close()
	if err == nil && !l.stay.Load() {
		err = os.Remove(l.path)
	}
	return err
}

// Addr returns the socket's path.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Net: "unix", Name: l.path} }

// unixPeer asks the kernel who connected.
func unixPeer(c *net.UnixConn) (Peer, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var cred *syscall.Ucred
	var serr error
	if err := raw.Control(func(fd uintptr) {
		cred, serr = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); err != nil {
		return Peer{}, err
	}
	if serr != nil {
		return Peer{}, serr
	}
	return Peer{Local: true, UID: int(cred.Uid), PID: int(cred.Pid)}, nil
}
