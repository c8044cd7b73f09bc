package pace

import (
	"sync"
	"time"
)

// Meter measures a rate over the last twenty ticks. The zero value is ready;
// methods may be called concurrently.
type Meter struct {
	mu   sync.Mutex
	sum  [20]int64 // bytes by tick, a ring
	at   [20]time.Time
	next int
	full bool
}

// Tick notes the bytes since the last tick.
func (m *Meter) Tick(now time.Time, bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.sum[m.next], m.at[m.next] = bytes, now
	m.next++
	if m.next == len(m.sum) {
		m.next, m.full = 0, true
	}
}

// PerSecond returns the mean over the ring, bytes a second; 0 until there are two ticks.
func (m *Meter) PerSecond() float64 {
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
