package journal

import (
	"bytes"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// SetEpoch makes later records belong to epoch e, which must be greater than
// the present one. Everything appended before is durable first, so the fork
// cannot move; the epoch is durable on return.
func (j *Journal) SetEpoch(e redoubt.Epoch) error {
	const op = "set epoch"
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	if err := j.usable(op); err != nil {
		return err
	}
	if e <= j.epoch {
		return &redoubt.Error{Op: op, Object: j.dir, Err: fmt.Errorf("epoch %d, the journal has %d: %w", e, j.epoch, redoubt.ErrInvalid)}
	}
	if err := j.syncAll(); err != nil {
		return err
	}
	if err := j.updateFacts(op, func(f *facts) error { f.Epoch = e; return nil }); err != nil {
		return err
	}
	j.mu.Lock()
	j.epoch = e
	j.mu.Unlock()
	return nil
}

// Reset forgets all records: the next one has LSN p.LSN+1 and epoch p.Epoch;
// applied and all cursors are at p.LSN, nothing is given up; state keys stay. After a crash either
// everything is as before or everything is reset.
func (j *Journal) Reset(p redoubt.Position) error {
	const op = "reset journal"
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	if err := j.usable(op); err != nil {
		return err
	}
	j.gap.work.Lock()
	defer j.gap.work.Unlock()
	j.mu.Lock()
	minSeq := j.nextSeq // segments of all lower seqs are forgotten, spares too
	j.mu.Unlock()
	err := j.updateFacts(op, func(f *facts) error {
		f.Base, f.Epoch, f.MinSeq = p, p.Epoch, minSeq
		f.Resets++
		f.Gap = nil
		f.Watermark, f.Tail, f.Applied = p.LSN, p.LSN+1, p.LSN
		for name, c := range f.Cursors {
			f.Cursors[name] = cursorFact{c.Serial, p.LSN}
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		j.resets, j.minSeq = f.Resets, minSeq // work in flight is void from here on
		return nil
	})
	if err != nil {
		return j.fail(op, j.dir, err)
	}
	j.forgetGap()
	j.mu.Lock()
	for _, list := range [][]*segment{j.chain, j.spare} {
		for _, s := range list {
			s.live = false
			j.free = append(j.free, s)
		}
	}
	j.chain, j.spare, j.dirty = nil, nil, nil
	j.epoch, j.head, j.headTime, j.tail = p.Epoch, p.LSN, 0, p.LSN+1
	j.applied = p.LSN
	for _, c := range j.cursors {
		c.acked = p.LSN
	}
	j.durable.Store(uint64(p.LSN))
	j.noSpace = nil
	j.wr.cur, j.wr.head, j.wr.time = nil, p.LSN, 0
	j.tell()
	j.mu.Unlock()
	j.wake()
	return nil
}

// PutState keeps a small value (role, progress; at most 64 KiB) under key; nil
// removes it. It is durable on return.
func (j *Journal) PutState(key string, value []byte) error {
	const op = "put state"
	if key == "" || len(key) > 256 || len(value) > 64<<10 {
		return &redoubt.Error{Op: op, Object: key, Err: redoubt.ErrInvalid, Hint: "a key has 1 to 256 bytes, a value at most 64 KiB"}
	}
	if err := j.usable(op); err != nil {
		return err
	}
	return j.updateFacts(op, func(f *facts) error {
		if value == nil {
			delete(f.State, key)
		} else {
			f.State[key] = append([]byte{}, value...)
		}
		return nil
	})
}

// State returns a copy of the value under key, and whether there is one.
func (j *Journal) State(key string) ([]byte, bool, error) {
	j.factsMu.Lock()
	defer j.factsMu.Unlock()
	v, ok := j.facts.State[key]
	return bytes.Clone(v), ok, nil
}
