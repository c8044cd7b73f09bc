package blockdev

import (
	"slices"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// A connection reads requests into a chunk, and the payload of a WRITE stays
// there until it is applied: it is copied into the journal's file and into the
// image, and nowhere else. A connection begins with next to nothing, goes on with
// a small chunk, and with large ones when it turns out to write.
const (
	restChunk  = 4 << 10 // of a connection that waits for its next request
	smallChunk = 64 << 10
	largeChunk = 1 << 20
)

// chunk is memory that a connection reads into.
type chunk struct {
	b    []byte
	last redoubt.LSN // last write whose data lies here; 0 if none
}

// chunkPool reuses large chunks once all writes in them are applied.
type chunkPool struct {
	mu      sync.Mutex
	free    []*chunk
	retired []*chunk      // waiting for last to be applied
	applied redoubt.LSN   // up to here nothing is referred to
	due     redoubt.LSN   // the same, if nothing were held
	held    []redoubt.LSN // from where on somebody reads
	keep    int           // most free chunks
	least   int           // fewest free chunks since the last shrink
}

// get returns a large chunk with undefined content.
func (p *chunkPool) get() *chunk {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n := len(p.free); n > 0 {
		c := p.free[n-1]
		p.free = p.free[:n-1]
		p.least = min(p.least, len(p.free))
		return c
	}
	return newLargeChunk()
}

// newLargeChunk returns a large chunk on huge pages where the system gives
// them: it is touched from end to end, and each fault of a small page costs more
// than the write that lies in it.
func newLargeChunk() *chunk {
	b := make([]byte, largeChunk)
	slab.Huge(b)
	return &chunk{b: b}
}

// retire gives c back; nobody reads into it any more.
func (p *chunkPool) retire(c *chunk) {
	if len(c.b) != largeChunk {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.last > p.applied {
		p.retired = append(p.retired, c)
	} else if len(p.free) < p.keep {
		c.last = 0
		p.free = append(p.free, c)
	}
}

// reusable reports whether nothing refers to c's content any more.
func (p *chunkPool) reusable(c *chunk) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return c.last <= p.applied
}

// release frees what only held writes up to l, which no layer refers to any more,
// as far as nobody reads it.
func (p *chunkPool) release(l redoubt.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.due = l
	p.settle()
}

// hold keeps the writes from l on as they are until letGo. Whoever calls it knows
// that l is not released yet.
func (p *chunkPool) hold(l redoubt.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = append(p.held, l)
}

func (p *chunkPool) letGo(l redoubt.LSN) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.held, l)
	p.held = slices.Delete(p.held, i, i+1)
	p.settle()
}

// settle frees what is due and not held. The caller holds p.mu.
func (p *chunkPool) settle() {
	l := p.due
	for _, h := range p.held {
		l = min(l, h-1)
	}
	if l == p.applied {
		return
	}
	p.applied = l
	keep := p.retired[:0]
	for _, c := range p.retired {
		switch {
		case c.last > l:
			keep = append(keep, c)
		case len(p.free) < p.keep:
			c.last = 0
			p.free = append(p.free, c)
		}
	}
	clear(p.retired[len(keep):])
	p.retired = keep
}

// shrink gives back half of the chunks that nobody took since the last call.
func (p *chunkPool) shrink() {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := len(p.free) - (min(p.least, len(p.free))+1)/2
	clear(p.free[n:])
	p.free = p.free[:n]
	p.least = n
}
