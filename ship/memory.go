package ship

import "github.com/redoubt-dr/redoubt/internal/slab"

// memory is where a Builder's blocks lie until they are shipped: at most some
// 6 MiB for a delta of 4 MiB.
type memory struct {
	held  [][]byte // holds blocks
	loan  []byte   // lent, see lend
	kept  bool     // loan holds a block
	out   []byte   // the last of held that compressed blocks are put into
	outAt int      // bytes of out that are in use
}

// outPiece is the memory that compressed blocks share, in bytes.
const outPiece = 1 << 20

// lend returns n bytes to read a disk into. What Put is given of them, and is
// large enough for a block of its own, is not copied. They are good until the
// next lend.
func (m *memory) lend(n int) []byte {
	if m.kept {
		m.keep(m.loan)
		m.loan, m.kept = nil, false
	}
	if cap(m.loan) < n {
		m.giveBack(m.loan)
		m.loan = slab.Get(n)
	}
	return m.loan[:n]
}

// lent reports whether p lies in what was lent.
func (m *memory) lent(p []byte) bool {
	// The ends of the capacities are the same byte if p is a part of it.
	return cap(m.loan) >= cap(p) && cap(p) > 0 && &m.loan[:cap(m.loan)][cap(m.loan)-1] == &p[:cap(p)][cap(p)-1]
}

// keepLent makes what was lent a part of the delta. What is still to come of it
// may be put into the delta as before.
func (m *memory) keepLent() { m.kept = true }

// room returns memory for a compressed block of at most n bytes.
func (m *memory) room(n int) []byte {
	if len(m.out)-m.outAt < n {
		m.out, m.outAt = slab.Get(max(n, outPiece)), 0
		m.keep(m.out)
	}
	return m.out[m.outAt : m.outAt+n : m.outAt+n]
}

// fill says that n bytes of the room are in use.
func (m *memory) fill(n int) { m.outAt += n }

// keep makes p a part of the delta.
func (m *memory) keep(p []byte) { m.held = append(m.held, p) }

func (m *memory) giveBack(p []byte) {
	if cap(p) > 0 {
		slab.Put(p)
	}
}

func (m *memory) release() {
	for _, p := range m.held {
		slab.Put(p)
	}
	m.giveBack(m.loan)
	*m = memory{}
}
