package journal

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Journal is the ordered, durable log of one protection group's writes. All
// methods may be called concurrently.
//
// Locks are taken in this order: appendMu, gap.work, factsMu, mu; gap.mu is taken last of all.
type Journal struct {
	o    Options
	dir  string
	fs   vfs.FS
	now  func() time.Time
	log  *slog.Logger
	id   journalID
	lock io.Closer

	appendMu sync.Mutex // one append, epoch change or reset at a time
	wr       writer     // guarded by appendMu

	factsMu sync.Mutex
	facts   *facts
	ff      *factsFile

	gap gapKeeper

	goodFacts int // the copy of the facts that was read at open

	mu        sync.Mutex
	cond      sync.Cond // a spare is ready, room is gone, the journal failed or closed
	epoch     redoubt.Epoch
	head      redoubt.LSN
	headTime  int64
	tail      redoubt.LSN
	chain     []*segment // live segments, oldest first; the last one may be open
	spare     []*segment // prepared: header durable, no batch
	free      []*segment // files whose content is forgotten
	dirty     []*segment // have batches that are not synced, oldest first
	files     int        // segment files, also those being made
	slots     int        // number of the next new file
	nextSeq   uint64
	minSeq    uint64
	resets    uint64
	want      int       // spares that an append waits for
	taken     int       // segments that an append has and that are not in chain yet
	preparing int       // files that the keeper works on
	noSpace   error     // the last attempt to make a file found the disk full
	noSpaceAt time.Time // of that attempt; zero once a file was made
	applied   redoubt.LSN
	released  redoubt.LSN // given up: no cursor holds it back; 0 if there is no gap
	cursors   map[string]*cursorState
	news      chan struct{} // closed at the next append; nil if nobody waits
	closed    bool

	durable atomic.Uint64
	failure atomic.Pointer[redoubt.Error]
	sync    groupCommit
	count   counters
	figures figures

	index    index // guarded by mu, like the next two
	late     bool  // the journal was just made: the first checkpoint opens its index
	indexErr error // the first error of the index, which is out of use since

	kick chan struct{}
	stop chan struct{}
	done chan struct{}
}

// Head returns the position of the last record: the present epoch and the last LSN.
func (j *Journal) Head() redoubt.Position {
	j.mu.Lock()
	defer j.mu.Unlock()
	return redoubt.Position{Epoch: j.epoch, LSN: j.head}
}

// HeadTime returns the time of the last record, in Unix nanoseconds; 0 if
// there was none since the creation or the last Reset.
func (j *Journal) HeadTime() int64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.headTime
}

// Durable returns the last LSN that is known to survive a power cut.
func (j *Journal) Durable() redoubt.LSN { return redoubt.LSN(j.durable.Load()) }

// Tail returns the first LSN that can still be read; head+1 if there is none.
func (j *Journal) Tail() redoubt.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.tail
}

// Epoch returns the epoch that new records belong to.
func (j *Journal) Epoch() redoubt.Epoch {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.epoch
}

// Applied returns the LSN up to which all records are in the images.
func (j *Journal) Applied() redoubt.LSN {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.applied
}

// SetApplied says that every record up to l is applied to the images and
// synced there. A smaller l than before changes nothing. Apply only durable
// records: after a power cut an image must not be ahead of its journal.
func (j *Journal) SetApplied(l redoubt.LSN) error {
	if err := j.confirm("set applied", l); err != nil {
		return err
	}
	j.mu.Lock()
	j.applied = max(j.applied, min(l, j.head))
	trim := j.trimmable() > 0
	j.mu.Unlock()
	if trim {
		j.wake()
	}
	return nil
}

// Err returns the failure that has stopped the journal, or nil.
func (j *Journal) Err() error {
	if e := j.failure.Load(); e != nil {
		return e
	}
	return nil
}

// fail latches the first failure of a write or sync and returns the latched
// error. What the failed operation left on the disk is unknown, so nothing is
// tried again before a new Open has verified it.
func (j *Journal) fail(op, object string, cause error) error {
	e := &redoubt.Error{Op: op, Object: object, Err: fmt.Errorf("%w: %w", redoubt.ErrFailed, cause),
		Hint: "check the disk and the kernel log, then restart: the journal is verified when it is opened"}
	if j.failure.CompareAndSwap(nil, e) {
		j.log.Error("journal failed", "dir", j.dir, "op", op, "object", object, "err", cause)
	}
	j.mu.Lock()
	j.cond.Broadcast()
	j.tell()
	j.mu.Unlock()
	return j.failure.Load()
}

// usable returns why the journal takes no change, or nil.
func (j *Journal) usable(op string) error {
	if err := j.Err(); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return &redoubt.Error{Op: op, Object: j.dir, Err: redoubt.ErrClosed}
	}
	return nil
}

// tell wakes all that wait for news. It is called with mu held.
func (j *Journal) tell() {
	if j.news != nil {
		close(j.news)
		j.news = nil
	}
}

// wake makes the keeper look for work.
func (j *Journal) wake() {
	select {
	case j.kick <- struct{}{}:
	default:
	}
}

// Close syncs what was appended, saves the index and releases the folder. The
// journal's records stay. It returns the latched failure, if there is one.
func (j *Journal) Close() error {
	j.appendMu.Lock()
	defer j.appendMu.Unlock()
	j.mu.Lock()
	if j.closed {
		j.mu.Unlock()
		return nil
	}
	j.closed = true
	j.cond.Broadcast()
	j.tell()
	j.mu.Unlock()
	close(j.stop)
	<-j.done

	err := j.Err()
	if err == nil && !j.o.readOnly {
		if err = j.syncAll(); err == nil {
			j.checkpoint()
			err = j.updateFacts("close journal", func(f *facts) error { f.Clean = true; return nil })
		}
	}
	return errors.Join(err, j.release())
}

// release closes all files and the lock.
func (j *Journal) release() error {
	var err error
	if j.index != nil {
		err = j.index.close()
	}
	for _, list := range [][]*segment{j.chain, j.spare, j.free} {
		for _, s := range list {
			err = errors.Join(err, s.file.Close())
		}
	}
	if j.ff != nil {
		err = errors.Join(err, j.ff.close())
	}
	if j.gap.file != nil {
		err = errors.Join(err, j.gap.file.file.Close())
	}
	if j.lock != nil {
		err = errors.Join(err, j.lock.Close())
	}
	return err
}
