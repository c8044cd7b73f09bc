package ship

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// keeper holds what the receiver has committed, but not with all of its
// redundancy, in the journal: as long as there is room for it.
type keeper struct {
	j   *journal.Journal
	cur *journal.Cursor // nil: nothing is kept beyond the ack

	mu     sync.Mutex
	met    bool        // a receiver has answered
	told   bool        // and it tells what is whole; otherwise all that it has acked counts
	whole  redoubt.LSN // newest word of it
	gaveUp redoubt.LSN // everything up to here was let go although it is not whole
}

// keepMost is the part of the journal, in quarters, up to which records are
// kept beyond their ack. The rest is for what is not acked at all.
const keepMost = 3

// keepFrom returns the LSN up to which the journal may be trimmed: what is acked
// and whole, or acked and among the oldest records, whose room is needed.
func keepFrom(acked, whole, oldest redoubt.LSN) redoubt.LSN {
	return min(acked, max(whole, oldest))
}

// overFull returns by how many bytes the journal exceeds what may be kept.
func overFull(used, most int64) int64 { return max(0, used-most/4*keepMost) }

func openKeeper(j *journal.Journal, name string) (*keeper, error) {
	k := &keeper{j: j}
	if name == "" {
		return k, nil
	}
	cur, err := openCursor(j, name)
	if err != nil {
		return nil, err
	}
	k.cur = cur
	return k, nil
}

// begin notes, for a new stream, whether the receiver tells what is whole.
func (k *keeper) begin(tells bool) {
	k.mu.Lock()
	k.met, k.told, k.whole = true, tells, 0
	k.mu.Unlock()
}

func (k *keeper) learn(whole redoubt.LSN) {
	k.mu.Lock()
	k.whole = whole
	k.mu.Unlock()
}

// settle lets the journal trim what need not be kept, after acked or whole has
// moved, or the journal has grown.
func (k *keeper) settle(acked redoubt.LSN) error {
	if k.cur == nil {
		return nil
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	whole := k.whole
	if k.met && !k.told {
		whole = acked
	}
	st := k.j.Stats()
	oldest := k.j.Oldest(overFull(st.UsedBytes, st.MaxBytes))
	to := keepFrom(acked, whole, oldest)
	if to <= k.cur.Acked() {
		return nil
	}
	if k.told && to > whole {
		k.gaveUp = to
	}
	if err := k.cur.Ack(to); err != nil {
		return &redoubt.Error{Op: "let the journal trim", Err: fmt.Errorf("%w: %w", errJournal, err)}
	}
	return nil
}

// status returns what is whole at the receiver, the bytes kept for what is not,
// and up to where records were let go for want of room although they were not.
func (k *keeper) status(acked redoubt.LSN) (whole redoubt.LSN, kept int64, gaveUp redoubt.LSN) {
	if k.cur == nil {
		return acked, 0, 0
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	at := k.cur.Acked()
	whole = max(k.whole, at)
	if k.gaveUp > k.whole {
		whole, gaveUp = k.whole, k.gaveUp
	}
	return min(whole, acked), k.j.Held(at, acked), gaveUp
}

// watch settles also while there is no stream: writes fill the journal then.
func (k *keeper) watch(ctx context.Context, every time.Duration, acked func() redoubt.LSN) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			_ = k.settle(acked()) // a failed journal ends Run elsewhere
		case <-ctx.Done():
			return
		}
	}
}

// openCursor opens a place in the journal. A new one begins at the oldest
// record, which the journal may be trimming at this moment: then again.
func openCursor(j *journal.Journal, name string) (*journal.Cursor, error) {
	for tries := 0; ; tries++ {
		cur, err := j.Cursor(name, j.Tail()-1)
		if err == nil || tries == 10 || !errors.Is(err, redoubt.ErrGap) {
			return cur, err
		}
	}
}
