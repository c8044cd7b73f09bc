package handover

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// The service manager's store, sd_notify(3): FDSTORE=1 with a descriptor keeps
// it under a name, FDSTOREREMOVE=1 gives it up, and the next life gets what is
// kept with LISTEN_FDS and LISTEN_FDNAMES. The store lasts over a restart of the
// service and ends when it is stopped.
const (
	notifyEnv   = "NOTIFY_SOCKET"
	storePrefix = "redoubt-"
	stateName   = storePrefix + "state"
	managerWait = 5 * time.Second
)

// HasStore reports whether a service manager may keep descriptors for us.
func HasStore() bool { return os.Getenv(notifyEnv) != "" }

// Store gives s to the service manager, which has it when Store returns. s
// stays the caller's.
func (s *State) Store() error {
	m, err := dialManager()
	if err != nil {
		return err
	}
	defer m.Close()
	state, err := s.memfd()
	if err != nil {
		return err
	}
	defer unix.Close(state)
	for i, fd := range s.fds() {
		if fd < 0 {
			continue
		}
		if err := m.send("FDSTORE=1\nFDNAME="+storePrefix+strconv.Itoa(i), fd); err != nil {
			return err
		}
	}
	// Last, so that a state never lies there without its sockets.
	if err := m.send("FDSTORE=1\nFDNAME="+stateName, state); err != nil {
		return err
	}
	return m.barrier()
}

// unstore makes the service manager forget what it keeps under the names. Until
// then a connection that we close stays open for the client.
func unstore(names []string) error {
	if len(names) == 0 {
		return nil
	}
	m, err := dialManager()
	if err != nil {
		return err
	}
	defer m.Close()
	for _, n := range names {
		if err := m.send("FDSTOREREMOVE=1\nFDNAME="+n, -1); err != nil {
			return err
		}
	}
	return m.barrier()
}

// manager is a socket from which the service manager is told.
type manager struct {
	fd int
	to unix.Sockaddr
}

func dialManager() (*manager, error) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		wait := unix.NsecToTimeval(int64(managerWait))
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &wait)
	}
	if err != nil {
		closeFD(&fd)
		return nil, &redoubt.Error{Op: "reach the service manager", Object: os.Getenv(notifyEnv), Err: err}
	}
	return &manager{fd, &unix.SockaddrUnix{Name: os.Getenv(notifyEnv)}}, nil
}

// Close closes the socket; what was sent arrives.
func (m *manager) Close() { closeFD(&m.fd) }

// send sends one message, with a descriptor unless fd is negative.
func (m *manager) send(msg string, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	if err := unix.Sendmsg(m.fd, []byte(msg), rights, m.to, unix.MSG_NOSIGNAL); err != nil {
		return &redoubt.Error{Op: "tell the service manager", Object: strings.ReplaceAll(msg, "\n", " "), Err: err}
	}
	return nil
}

// barrier returns when the service manager has seen everything that was sent:
// it closes the end of a pipe that it is given.
func (m *manager) barrier() error {
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC); err != nil {
		return &redoubt.Error{Op: "tell the service manager", Err: err}
	}
	defer unix.Close(p[0])
	err := m.send("BARRIER=1", p[1])
	unix.Close(p[1])
	if err != nil {
		return err
	}
	for end := time.Now().Add(managerWait); ; {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p[0])}}, int(max(0, time.Until(end)).Milliseconds()))
		switch {
		case n > 0:
			return nil
		case err != nil && !errors.Is(err, unix.EINTR):
			return &redoubt.Error{Op: "wait for the service manager", Err: err}
		case time.Now().After(end):
			return &redoubt.Error{Op: "wait for the service manager", Err: fmt.Errorf("no answer in %v: %w", managerWait, redoubt.ErrUnavailable)}
		}
	}
}
