package blockdev

import "sync"

// gate tells the applier when every read of the backing that began before a
// moment has ended. Only then may it drop pieces from memory: a read that found
// no piece, then read the backing while a newer piece was being written there,
// looks into memory a second time and must still find that piece.
//
// New reads never wait for the applier, and the applier never waits for reads
// that began after it asked.
type gate struct {
	mu   sync.Mutex
	turn int
	in   [2]int
	out  chan struct{} // closed when in[1-turn] falls to 0; nil if nobody waits
}

// enter begins a read; the result belongs to leave.
func (g *gate) enter() int {
	g.mu.Lock()
	t := g.turn
	g.in[t]++
	g.mu.Unlock()
	return t
}

// leave ends the read.
func (g *gate) leave(t int) {
	g.mu.Lock()
	g.in[t]--
	if g.in[t] == 0 && t != g.turn && g.out != nil {
		close(g.out)
		g.out = nil
	}
	g.mu.Unlock()
}

// pass returns when all reads that entered before the call have left. Only one
// goroutine may call it.
func (g *gate) pass() {
	g.mu.Lock()
	old := g.turn
	g.turn = 1 - old
	if g.in[old] == 0 {
		g.mu.Unlock()
		return
	}
	out := make(chan struct{})
	g.out = out
	g.mu.Unlock()
	<-out
}
