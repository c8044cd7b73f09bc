package handover

import (
	"fmt"
	"net"
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
	barrierWait = 5 * time.Second
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

type manager struct{ *net.UnixConn }

func dialManager() (manager, error) {
	c, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Net: "unixgram", Name: os.Getenv(notifyEnv)})
	if err != nil {
		return manager{}, &redoubt.Error{Op: "reach the service manager", Object: os.Getenv(notifyEnv), Err: err}
	}
	return manager{c}, nil
}

// send sends one message, with a descriptor unless fd is negative.
func (m manager) send(msg string, fd int) error {
	var rights []byte
	if fd >= 0 {
		rights = unix.UnixRights(fd)
	}
	if _, _, err := m.WriteMsgUnix([]byte(msg), rights, nil); err != nil {
		return &redoubt.Error{Op: "tell the service manager", Object: strings.ReplaceAll(msg, "\n", " "), Err: err}
	}
	return nil
}

// barrier returns when the service manager has seen everything that was sent:
// it closes the end of a pipe that it is given.
func (m manager) barrier() error {
	r, w, err := os.Pipe()
	if err != nil {
		return &redoubt.Error{Op: "tell the service manager", Err: err}
	}
	defer r.Close()
	err = m.sendFile("BARRIER=1", w)
	w.Close()
	if err != nil {
		return err
	}
	r.SetReadDeadline(time.Now().Add(barrierWait))
	if _, err := r.Read(make([]byte, 1)); os.IsTimeout(err) {
		return &redoubt.Error{Op: "wait for the service manager", Err: fmt.Errorf("no answer in %v: %w", barrierWait, redoubt.ErrUnavailable)}
	}
	return nil
}

func (m manager) sendFile(msg string, f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var serr error
	if err := raw.Control(func(fd uintptr) { serr = m.send(msg, int(fd)) }); err != nil {
		return err
	}
	return serr
}
