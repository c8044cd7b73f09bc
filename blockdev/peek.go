package blockdev

import (
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// peek tells whether a socket has bytes that nobody has read yet.
type peek struct {
	raw syscall.RawConn // nil: cannot tell
	ask func(fd uintptr)
	n   int
}

func newPeek(nc net.Conn) *peek {
	p := new(peek)
	if s, ok := nc.(syscall.Conn); ok {
		p.raw, _ = s.SyscallConn()
	}
	p.ask = func(fd uintptr) { p.n, _ = unix.IoctlGetInt(int(fd), unix.TIOCINQ) }
	return p
}

// more is for one goroutine at a time.
func (p *peek) more() bool {
	p.n = 0
	return p.raw != nil && p.raw.Control(p.ask) == nil && p.n > 0
}
