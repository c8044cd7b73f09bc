package crashtest

import (
	"bytes"
	"os"
	"path"

	"github.com/redoubt-dr/redoubt"
)

// driveRot works with an applier that sleeps, stops, and changes one durable
// byte of the journal that the next open has to read.
func (w *world) driveRot() error {
	if err := w.drive(20+w.rng.IntN(60), never); err != nil {
		return err
	}
	if err := w.flushed(3); err != nil { // what is behind vouches for what is before
		return err
	}
	low, high := max(w.born, w.j.Applied()), w.synced-2 // what must be replayed
	w.stop(w.rng.IntN(2) == 0)
	for range 20 {
		if low >= high {
			break
		}
		l := low + 1 + redoubt.LSN(w.rng.Uint64N(uint64(high-low)))
		if o := &w.ops[l-1]; o.kind == redoubt.KindWrite && w.flip(o) {
			w.suspect = true
			w.tally.Damaged++
			// The record is not applied: an open that says nothing has overlooked it.
			if err := w.reopen(&power{}, 0); err != nil {
				return err
			}
			return found(1, "a changed byte of durable record %d was not reported", l)
		}
	}
	return w.reopen(&power{}, 0)
}

// flip changes a bit of the op's data in the journal's files, durably.
func (w *world) flip(o *op) bool {
	data := o.data()
	list, err := w.fs.ReadDir(journalDir)
	if err != nil {
		return false
	}
	for _, e := range list {
		f, err := w.fs.OpenFile(path.Join(journalDir, e.Name()), os.O_RDWR, 0)
		if err != nil {
			return false
		}
		n, err := f.Size()
		if err != nil {
			return false
		}
		b := make([]byte, n)
		if _, err := f.ReadAt(b, 0); err != nil {
			return false
		}
		if i := bytes.Index(b, data); i >= 0 {
			i += w.rng.IntN(len(data))
			_, err := f.WriteAt([]byte{b[i] ^ 1<<w.rng.IntN(8)}, int64(i))
			return err == nil && f.Sync() == nil
		}
	}
	return false
}
