package dbload

import (
	"fmt"
	"sync"
	"time"
)

// Ledger is what the client of a database knows: its transactions are numbered
// from 1, and each was sent when the one before it was answered. Its methods may
// be called concurrently.
type Ledger struct {
	mu   sync.Mutex
	list []transaction
}

type transaction struct{ sent, answered int64 } // Unix nanoseconds; not answered: 0

// Do runs the next transaction and notes its times.
func (l *Ledger) Do(commit func(n int) error) error {
	l.mu.Lock()
	l.list = append(l.list, transaction{sent: time.Now().UnixNano()})
	n := len(l.list)
	l.mu.Unlock()
	if err := commit(n); err != nil {
		return fmt.Errorf("transaction %d: %w", n, err)
	}
	l.mu.Lock()
	l.list[n-1].answered = time.Now().UnixNano()
	l.mu.Unlock()
	return nil
}

// Answered returns the number of the last transaction that was answered.
func (l *Ledger) Answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.list)
	if n > 0 && l.list[n-1].answered == 0 {
		n--
	}
	return n
}

// At returns which transactions a state must and may hold that was taken not
// before from and not after to: 1 up to least must be there, none behind most.
func (l *Ledger) At(from, to int64) (least, most int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, t := range l.list {
		if t.answered != 0 && t.answered < from {
			least = i + 1
		}
		if t.sent <= to {
			most = i + 1
		}
	}
	return least, most
}

// Cut forgets the transactions behind n, which a failover has lost. One that was
// not answered and is there after all stays; it must be there from now on.
func (l *Ledger) Cut(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = l.list[:n]
	if n > 0 && l.list[n-1].answered == 0 {
		l.list[n-1].answered = time.Now().UnixNano()
	}
}
