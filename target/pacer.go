package target

import (
	"context"
	"sync"
	"time"
)

// pacer holds whoever passes to a rate that may change. Several may wait.
type pacer struct {
	mu   sync.Mutex
	rate int64 // bytes a second
	why  string
	next time.Time // when the next piece may pass
}

// pacePiece is what passes at once, in bytes: the rate may change in between.
const pacePiece = 256 << 10

func newPacer(perSecond int64) *pacer { return &pacer{rate: max(1, perSecond)} }

func (p *pacer) set(perSecond int64, why string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rate, p.why = max(1, perSecond), why
}

// allowed returns the bytes a second that may pass, and why it is that many.
func (p *pacer) allowed() (int64, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rate, p.why
}

// wait returns when n bytes may pass, or with the error of ctx.
func (p *pacer) wait(ctx context.Context, n int64) error {
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
func (p *pacer) reserve(n int64) time.Duration {
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

// meter measures a rate over the last few ticks.
type meter struct {
	mu   sync.Mutex
	sum  [20]int64 // bytes by tick, a ring
	at   [20]time.Time
	next int
	full bool
}

// tick notes the bytes since the last tick.
func (m *meter) tick(now time.Time, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum[m.next], m.at[m.next] = bytes, now
	m.next++
	if m.next == len(m.sum) {
		m.next, m.full = 0, true
	}
}

// perSecond returns the mean over the ring; 0 until there are two ticks.
func (m *meter) perSecond() float64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, oldest := m.next, 0
	if m.full {
		n, oldest = len(m.sum), m.next
	}
	if n < 2 {
		return 0
	}
	newest := (oldest + n - 1) % len(m.sum)
	var bytes int64
	for i := 1; i < n; i++ {
		bytes += m.sum[(oldest+i)%len(m.sum)]
	}
	span := m.at[newest].Sub(m.at[oldest]).Seconds()
	if span <= 0 {
		return 0
	}
	return float64(bytes) / span
}
