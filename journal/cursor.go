package journal

import (
	"context"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// cursorState is guarded by Journal.mu.
type cursorState struct {
	serial uint64
	acked  redoubt.LSN
}

// Cursor is the durable place of one consumer. It holds back trimming of what
// the consumer has not acknowledged. Its methods may be called concurrently;
// reads are done one after the other.
type Cursor struct {
	j     *Journal
	name  string
	state *cursorState

	mu   sync.Mutex
	hint hint
}

// Cursor returns the cursor of that name. If there is none it is made, with
// everything up to start acknowledged; that is durable on return. redoubt.ErrGap
// means that records after start were trimmed already.
func (j *Journal) Cursor(name string, start redoubt.LSN) (*Cursor, error) {
	const op = "open cursor"
	if err := redoubt.ValidName("cursor", name); err != nil {
		return nil, err
	}
	// One creation at a time. Trimming decides inside updateFacts too, so that
	// no segment goes between the check and the creation.
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	if err := j.usable(op); err != nil {
		return nil, err
	}
	j.mu.Lock()
	if c, ok := j.cursors[name]; ok {
		j.mu.Unlock()
		return &Cursor{j: j, name: name, state: c}, nil
	}
	j.mu.Unlock()
	var c *cursorState
	err := j.updateFacts(op, func(f *facts) error {
		j.mu.Lock()
		defer j.mu.Unlock()
		if start > j.head {
			return &redoubt.Error{Op: op, Object: name, Err: fmt.Errorf("start %d lies beyond the head %d: %w", start, j.head, redoubt.ErrInvalid)}
		}
		if start+1 < f.Tail {
			return &redoubt.Error{Op: op, Object: name, Err: fmt.Errorf("records from %d on are needed, the journal begins at %d: %w", start+1, f.Tail, redoubt.ErrGap)}
		}
		f.NextCursor++
		c = &cursorState{serial: f.NextCursor, acked: start}
		f.Cursors[name] = cursorFact{c.serial, start}
		j.cursors[name] = c // holds back trimming from now on
		return nil
	})
	if err != nil {
		j.mu.Lock()
		if c != nil && j.cursors[name] == c {
			delete(j.cursors, name)
		}
		j.mu.Unlock()
		return nil, err
	}
	return &Cursor{j: j, name: name, state: c}, nil
}

// Cursors returns what each cursor has acknowledged.
func (j *Journal) Cursors() map[string]redoubt.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make(map[string]redoubt.LSN, len(j.cursors))
	for n, c := range j.cursors {
		out[n] = c.acked
	}
	return out
}

// RemoveCursor forgets a cursor, durably; trimming no longer waits for it. What
// was given up for it is forgotten, too.
func (j *Journal) RemoveCursor(name string) error {
	const op = "remove cursor"
	if err := j.usable(op); err != nil {
		return err
	}
	j.gap.work.Lock()
	defer j.gap.work.Unlock()
	owed := j.gap.fact != nil && j.gap.fact.Cursor == name
	err := j.updateFacts(op, func(f *facts) error {
		if _, ok := f.Cursors[name]; !ok {
			return &redoubt.Error{Op: op, Object: name, Err: redoubt.ErrNotFound}
		}
		delete(f.Cursors, name)
		if owed {
			f.Gap = nil
		}
		return nil
	})
	if err != nil {
		return err
	}
	if owed {
		j.forgetGap()
	}
	j.mu.Lock()
	delete(j.cursors, name)
	j.mu.Unlock()
	j.wake()
	return nil
}

// Acked returns the LSN up to which everything is safe at the consumer.
func (c *Cursor) Acked() redoubt.LSN {
	c.j.mu.Lock()
	defer c.j.mu.Unlock()
	return c.state.acked
}

// Ack says that everything up to l is safe at the consumer. A smaller l than
// before changes nothing. It is saved within about a second and at Close; a
// crash before repeats shipping, and never skips.
func (c *Cursor) Ack(l redoubt.LSN) error {
	j := c.j
	if err := j.confirm("acknowledge", l); err != nil {
		return err
	}
	j.mu.Lock()
	if j.cursors[c.name] != c.state {
		j.mu.Unlock()
		return &redoubt.Error{Op: "acknowledge", Object: c.name, Err: redoubt.ErrNotFound}
	}
	c.state.acked = max(c.state.acked, min(l, j.head))
	trim := j.trimmable() > 0
	j.mu.Unlock()
	if trim {
		j.wake()
	}
	return nil
}

// confirm checks that l is not above the head and makes it durable: progress
// must never be ahead of what a power cut leaves.
func (j *Journal) confirm(op string, l redoubt.LSN) error {
	if err := j.usable(op); err != nil {
		return err
	}
	if head := j.Head().LSN; l > head {
		return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("LSN %d lies beyond the head %d: %w", l, head, redoubt.ErrInvalid)}
	}
	if l > j.Durable() {
		return j.Sync(context.Background(), l)
	}
	return nil
}

// Read returns records from LSN from on, in order: at least one if there is
// one, then until their data reaches maxBytes. Records that share an LSN come
// together. Data is fresh memory that the caller may keep; it was verified.
// Reading on where the last call ended is fast. Beyond the head the result is
// empty. redoubt.ErrGap: from was trimmed; redoubt.ErrCorrupt: the disk gave
// something else than was written.
func (c *Cursor) Read(from redoubt.LSN, maxBytes int) ([]redoubt.Write, error) {
	return c.read(nil, from, maxBytes, nil)
}

// Lend is Read with memory that is used again: the records are appended to
// dst[:0], and their data is the caller's until done is called. On an error
// there is nothing to give back.
func (c *Cursor) Lend(dst []redoubt.Write, from redoubt.LSN, maxBytes int) (ws []redoubt.Write, done func(), err error) {
	lent := new(loan)
	if ws, err = c.read(dst[:0], from, maxBytes, lent); err != nil {
		lent.giveBack()
		return nil, nil, err
	}
	return ws, lent.giveBack, nil
}

func (c *Cursor) read(out []redoubt.Write, from redoubt.LSN, maxBytes int, lent *loan) ([]redoubt.Write, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes := 0
	err := c.j.scan(from, maxBytes, &c.hint, lent, func(w *redoubt.Write) (bool, error) {
		if n := len(out); n > 0 && bytes >= maxBytes && out[n-1].LSN != w.LSN {
			return false, nil
		}
		out = append(out, *w)
		bytes += len(w.Data) + descSize
		return true, nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// loan is recycled memory that one read uses.
type loan struct{ bufs [][]byte }

// get returns n bytes with any content; of no loan they are fresh.
func (l *loan) get(n int) []byte {
	if l == nil {
		return make([]byte, n)
	}
	b := slab.Get(n)
	l.bufs = append(l.bufs, b)
	return b
}

func (l *loan) giveBack() {
	for _, b := range l.bufs {
		slab.Put(b)
	}
	l.bufs = nil
}
