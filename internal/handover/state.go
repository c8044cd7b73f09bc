package handover

import (
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// State is what one life passes to the next. It owns its descriptors.
type State struct {
	Listeners []Listener
	Conns     []Conn
}

// Listener is a listening socket.
type Listener struct {
	Key string // what it is for, see Sockets.Listen
	FD  int    // -1: it got lost on the way
}

// Conn is a plain NBD connection between two requests, after its handshake.
type Conn struct {
	FD         int // -1: it got lost on the way
	Group      string
	Export     string
	Disk       string // what is behind the export; another life must not serve another disk
	Size       uint64 // of the disk, bytes
	Structured bool   // structured replies were agreed
	Allocation bool   // base:allocation was agreed
	Write      *PartWrite
	// Left is what was received and not understood yet: the beginning of a
	// request, or of the next piece of Write. At most MaxLeft bytes.
	Left []byte
}

// PartWrite is a WRITE of which a part is done.
type PartWrite struct {
	Cookie uint64
	FUA    bool
	Errno  uint32 // not 0: what was answered is this, the payload is skipped
	Off    uint64 // of the next byte, on the disk
	Left   uint64 // bytes to come, those in Conn.Left included
}

// Close closes the descriptors. Those that somebody else has besides, such as
// the service manager, stay open there.
func (s *State) Close() {
	for i := range s.Listeners {
		closeFD(&s.Listeners[i].FD)
	}
	for i := range s.Conns {
		closeFD(&s.Conns[i].FD)
	}
}

// fds returns the descriptors in the order of the format.
func (s *State) fds() []int {
	var out []int
	for _, l := range s.Listeners {
		out = append(out, l.FD)
	}
	for _, c := range s.Conns {
		out = append(out, c.FD)
	}
	return out
}

// setFDs is the way back: fds[i] is the descriptor of the i-th socket. The
// State owns them; those beyond the last socket are closed.
func (s *State) setFDs(fds []int) {
	next := func() int {
		if len(fds) == 0 {
			return -1
		}
		fd := fds[0]
		fds = fds[1:]
		return fd
	}
	for i := range s.Listeners {
		s.Listeners[i].FD = next()
	}
	for i := range s.Conns {
		s.Conns[i].FD = next()
	}
	closeAll(fds)
}

// End ends the connection for the client, too, whoever else has a descriptor.
func (c *Conn) End() {
	if c.FD >= 0 {
		_ = unix.Shutdown(c.FD, unix.SHUT_RDWR) // fails if the client has left
	}
	closeFD(&c.FD)
}

// TCP reports whether the client came over TCP.
func (c *Conn) TCP() (bool, error) {
	domain, err := unix.GetsockoptInt(c.FD, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return domain == unix.AF_INET || domain == unix.AF_INET6, err
}

// Open makes the descriptor a connection, which owns it.
func (c *Conn) Open() (net.Conn, error) {
	f := os.NewFile(uintptr(c.FD), "handed over")
	c.FD = -1
	defer f.Close() // FileConn makes another
	return net.FileConn(f)
}

// Dup returns another descriptor of a socket. It does not survive exec.
func Dup(c syscall.Conn) (int, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd, derr := -1, error(nil)
	if err := raw.Control(func(old uintptr) { fd, derr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3) }); err != nil {
		return -1, err
	}
	return fd, derr
}

func closeFD(fd *int) {
	if *fd >= 0 {
		unix.Close(*fd)
		*fd = -1
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(&fd)
	}
}
