package netmux

import (
	"io"
	"net"
	"sync"
	"syscall"

	"github.com/redoubt-dr/redoubt/internal/slab"
)

// batchSize is how much a connection passes to the kernel, or takes from it, in
// one call while there is much to pass, in bytes. TLS alone makes a call for each
// record of 16 KiB.
const batchSize = 256 << 10

// batch is the connection below TLS. Idle, it holds no buffer.
type batch struct {
	net.Conn
	raw syscall.RawConn // nil: the connection has no descriptor to read

	in   []byte // slab that left is the rest of; for the one goroutine that reads
	left []byte
	more bool // the last read filled what it was given

	mu     sync.Mutex
	corked bool
	out    []byte
	err    error // the first of a write
}

func newBatch(c, below net.Conn) *batch {
	b := &batch{Conn: c}
	if s, ok := below.(syscall.Conn); ok {
		b.raw, _ = s.SyscallConn() // without it, reads stay small
	}
	return b
}

// Read implements net.Conn.
func (b *batch) Read(p []byte) (int, error) {
	if len(b.left) == 0 {
		if !b.more || b.raw == nil || len(p) >= batchSize {
			n, err := b.Conn.Read(p)
			b.more = n > 0 && n == len(p)
			return n, err
		}
		if err := b.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.left)
	if b.left = b.left[n:]; len(b.left) == 0 {
		slab.Put(b.in)
		b.in = nil
	}
	return n, nil
}

// fill reads as much as there is. It takes the buffer when there is something.
func (b *batch) fill() error {
	var n int
	var err error
	werr := b.raw.Read(func(fd uintptr) bool {
		b.in = slab.Get(batchSize)
		for {
			if n, err = syscall.Read(int(fd), b.in); err != syscall.EINTR {
				break
			}
		}
		if n <= 0 {
			slab.Put(b.in)
			b.in = nil
		}
		return err != syscall.EAGAIN
	})
	switch {
	case werr != nil:
		return werr
	case err != nil:
		return &net.OpError{Op: "read", Net: "tcp", Source: b.LocalAddr(), Addr: b.RemoteAddr(), Err: err}
	case n == 0:
		return io.EOF
	}
	b.left, b.more = b.in[:n], n > batchSize/8
	return nil
}

// Write implements net.Conn.
func (b *batch) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.corked || b.err != nil {
		return b.send(p)
	}
	if len(b.out)+len(p) > batchSize {
		if err := b.flush(); err != nil {
			return 0, err
		}
	}
	if len(p) > batchSize {
		return b.send(p)
	}
	if b.out == nil {
		b.out = slab.Get(batchSize)[:0]
	}
	b.out = append(b.out, p...)
	return len(p), nil
}

func (b *batch) send(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.Conn.Write(p)
	b.err = err
	return n, err
}

// flush writes what is held back and gives its buffer back. b.mu is held.
func (b *batch) flush() error {
	if b.out == nil {
		return b.err
	}
	_, err := b.send(b.out)
	slab.Put(b.out)
	b.out = nil
	return err
}

// Cork holds back what is written, up to batchSize, until Uncork.
func (b *batch) Cork() {
	b.mu.Lock()
	b.corked = true
	b.mu.Unlock()
}

// Uncork writes what is held back.
func (b *batch) Uncork() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.corked = false
	return b.flush()
}
