package crashtest

import (
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// Finding is a breach of the crash contract.
type Finding struct {
	Lost int64  // writes that are missing or wrong, at least
	What string // what was found
}

// Error returns what was found.
func (f *Finding) Error() string { return f.What }

func found(lost int64, format string, v ...any) error {
	return &Finding{Lost: max(lost, 1), What: fmt.Sprintf(format, v...)}
}

// checkHead holds the recovered head against the floor: flushed writes are
// there (S1), and nothing that was never written.
func checkHead(head, floor, issued redoubt.LSN) error {
	switch {
	case head < floor:
		return found(int64(floor-head), "writes %d to %d were promised and are gone: the journal ends at %d", head+1, floor, head)
	case head > issued:
		return found(1, "the journal ends at %d, but only %d writes were made", head, issued)
	}
	return nil
}

// checkJournal reads all records that the journal still has: they follow one
// another, and each is the write that was made (S2, S3).
func checkJournal(j *journal.Journal, opOf func(redoubt.LSN) *op) error {
	next, head := j.Tail(), j.Head().LSN
	for {
		err := j.Replay(next, func(w *redoubt.Write) error {
			if w.LSN != next {
				return found(1, "record %d follows %d in the journal", w.LSN, next-1)
			}
			next++
			if d := opOf(w.LSN).matches(w); d != "" {
				return found(1, "%s", d)
			}
			return nil
		})
		if t := j.Tail(); errors.Is(err, redoubt.ErrGap) && t > next {
			next = t // the applier let go of it meanwhile
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	if next != head+1 {
		return found(int64(head+1-next), "the journal says it ends at %d, but its last record is %d", head, next-1)
	}
	return nil
}

// verify judges what an open has found. What was found is durable from now on.
func (w *world) verify() error {
	head := w.j.Head().LSN
	if err := checkHead(head, w.floor, redoubt.LSN(len(w.ops))); err != nil {
		return err
	}
	w.tally.Dropped += int64(len(w.ops)) - int64(head)
	w.ops = w.ops[:head]
	w.born, w.acked, w.synced, w.floor = head, head, head, head
	if err := checkJournal(w.j, func(l redoubt.LSN) *op { return &w.ops[l-1] }); err != nil {
		return err
	}
	want := w.model()
	for i, v := range w.g.Volumes() {
		got := make([]byte, w.sizes[i])
		if err := v.ReadAt(got, 0); err != nil {
			return err
		}
		if d := differ(got, want[i]); d != "" {
			return found(1, "disk %d at write %d: %s", i+1, head, d)
		}
	}
	return nil
}

// model returns what the disks must hold after all ops.
func (w *world) model() [][]byte {
	images := blank(w.sizes)
	for i := range w.ops {
		w.ops[i].play(images)
	}
	return images
}

// end closes the world in order and judges what is on the disks for certain:
// everything, without a replay.
func (w *world) end() error {
	if err := errors.Join(w.g.Close(), w.j.Close()); err != nil {
		return err
	}
	w.g, w.j = nil, nil
	want := w.model()
	for i, d := range w.disks {
		if diff := differ(d.durable(), want[i]); diff != "" {
			return found(1, "disk %d after an orderly end: %s", i+1, diff)
		}
	}
	w.tally.Acknowledged += int64(w.acked - w.born)
	w.tally.Flushed += int64(w.acked - w.born)
	if _, err := journal.VerifyFS(w.fs, journalDir); err != nil && !w.suspect {
		return err
	}
	return nil
}
