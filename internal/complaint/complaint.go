// Package complaint logs what others can cause as often as they like.
package complaint

import (
	"log/slog"
	"sync"
	"time"
)

// Burst is how many warnings an Account says in full, and interval the time for
// one more.
const (
	Burst    = 50
	interval = time.Second
)

// Account says a burst of warnings in full, then one a second, with the number of
// those left out. The zero Account is ready; methods may be called concurrently.
// Those who are known have another one than strangers, who could drown what is
// said of them.
type Account struct {
	mu      sync.Mutex
	left    int
	at      time.Time
	omitted int
}

// Warn logs msg and args, if the account allows one more at the time now.
func (a *Account) Warn(log *slog.Logger, now time.Time, msg string, args ...any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if more := int(now.Sub(a.at) / interval); a.at.IsZero() || a.left+more >= Burst {
		a.left, a.at = Burst, now
	} else if more > 0 {
		a.left, a.at = a.left+more, a.at.Add(time.Duration(more)*interval)
	}
	if a.left == 0 {
		a.omitted++
		return
	}
	a.left--
	if a.omitted > 0 {
		args = append(args, "omitted", a.omitted)
		a.omitted = 0
	}
	log.Warn(msg, args...)
}
