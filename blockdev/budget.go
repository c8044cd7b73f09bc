package blockdev

import (
	"sync"
	"sync/atomic"
)

// budget bounds the buffers that the slow READs of all connections of a server
// hold, from before the read until the client has taken the answer. Nobody waits
// for it: whoever gets nothing is answered by stream, out of a buffer that each
// connection may have beside. So clients that take no answers can use the
// budget up, and hold back nobody but themselves.
type budget struct {
	left atomic.Int64
	pool sync.Pool // of *[]byte with room for pieceBuffer bytes
}

// pieceBuffer holds a READ of inlineRead bytes with what precedes it.
const pieceBuffer = inlineRead + structuredLen + 8

func newBudget(n int64) *budget {
	b := &budget{pool: sync.Pool{New: func() any { p := make([]byte, pieceBuffer); return &p }}}
	b.left.Store(n)
	return b
}

// buffer returns n bytes with undefined content, or nil if they are not to be had.
func (b *budget) buffer(n int) *[]byte {
	size := int64(max(n, pieceBuffer))
	if b.left.Add(-size) < 0 {
		b.left.Add(size)
		return nil
	}
	if n > pieceBuffer {
		p := make([]byte, n)
		return &p
	}
	p := b.pool.Get().(*[]byte)
	*p = (*p)[:n]
	return p
}

// give takes back what buffer returned.
func (b *budget) give(p *[]byte) {
	size := cap(*p)
	if size == pieceBuffer {
		b.pool.Put(p)
	}
	b.left.Add(int64(size))
}
