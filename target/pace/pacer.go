package pace

import (
	"context"
	"sync"
	"time"
)

// Pacer holds whoever passes to a rate that may change. Methods may be called
// concurrently; several may wait.
type Pacer struct {
	mu   sync.Mutex
	rate int64 // bytes a second
	why  string
	next time.Time // when the next piece may pass
}

// pacePiece is what passes at once, in bytes: the rate may change in between.
const pacePiece = 256 << 10

// New returns a Pacer that lets perSecond bytes a second pass, at least one.
func New(perSecond int64) *Pacer { return &Pacer{rate: max(1, perSecond)} }

// Set changes the rate, in bytes a second, for what passes from now on, and says
// why. Below 1 it is 1.
func (p *Pacer) Set(perSecond int64, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.why = max(1, perSecond), why
}

// Allowed returns the bytes a second that may pass, and why it is that many.
func (p *Pacer) Allowed() (int64, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, p.why
}

// Wait returns when n bytes may pass, or with the error of ctx.
func (p *Pacer) Wait(ctx context.Context, n int64) error {
	for ; n > 0; n -= pacePiece {
		d := p.reserve(min(n, pacePiece))
		if d <= 0 {
			continue
		}
		t := time.NewTimer(d)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// reserve takes the next n bytes and returns how long to wait for them.
func (p *Pacer) reserve(n int64) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(float64(n) / float64(p.rate) * float64(time.Second)))
	return d
}
