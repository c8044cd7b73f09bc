package journal

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

// BranchInfo says what a saved branch holds.
type BranchInfo struct {
	Dir       string            `json:"dir"`
	After     redoubt.Position  `json:"after"` // the branch begins behind this position
	Head      redoubt.Position  `json:"head"`
	First     redoubt.LSN       `json:"first"` // of its records; First > Last: none
	Last      redoubt.LSN       `json:"last"`
	FirstTime int64             `json:"first_time"` // Unix nanoseconds
	LastTime  int64             `json:"last_time"`
	Records   int64             `json:"records"`
	Bytes     int64             `json:"bytes"` // of data
	Disks     map[string]uint64 `json:"disks"` // bytes changed on each disk, overwrites counted once
}

// SaveBranch makes a durable copy of all records after LSN after, as a journal
// of its own in dir, which must not exist. A crash leaves either no dir or the
// whole copy; SaveBranch again then does it anew. redoubt.ErrGap: some of the
// records were trimmed.
func (j *Journal) SaveBranch(dir string, after redoubt.LSN) (BranchInfo, error) {
	const op = "save branch"
	info := BranchInfo{Dir: dir, First: after + 1, Last: after, Disks: map[string]uint64{}}
	wrap := func(err error) (BranchInfo, error) {
		return info, &redoubt.Error{Op: op, Object: dir, Err: err}
	}
	if _, err := j.fs.Stat(dir); !isMissing(err) {
		return wrap(errors.Join(err, redoubt.ErrExists))
	}
	tmp := dir + ".partial"
	if err := j.fs.RemoveAll(tmp); err != nil {
		return wrap(err)
	}
	r, err := j.seek(after+1, nil)
	if err != nil {
		return wrap(err)
	}
	if r != nil {
		defer r.close()
	}
	head := j.Head()
	info.After, info.Head = redoubt.Position{Epoch: head.Epoch, LSN: after}, head
	if head.LSN < after {
		return wrap(fmt.Errorf("LSN %d lies beyond the head %d: %w", after, head.LSN, redoubt.ErrInvalid))
	}
	b, err := j.branchJournal(tmp, r, &info)
	if err != nil {
		return wrap(err)
	}
	if err := errors.Join(j.fillBranch(b, r, head.LSN, &info), b.Close()); err != nil {
		return wrap(err)
	}
	if err := j.fs.Rename(tmp, dir); err != nil {
		return wrap(err)
	}
	if err := j.fs.SyncDir(filepath.Dir(dir)); err != nil {
		return wrap(err)
	}
	return info, nil
}

// branchJournal opens the copy. Its segments are small and none is prepared ahead.
func (j *Journal) branchJournal(dir string, r *reader, info *BranchInfo) (*Journal, error) {
	if r != nil { // the epoch of the first record that goes over
		for {
			h, _, ok, err := r.next(false)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			if h.last() > info.After.LSN {
				info.After.Epoch = h.epoch
				r.off -= h.length
				r.seen = false
				break
			}
		}
	}
	o := Options{FS: j.fs, Now: j.now, Logger: j.log, SegmentSize: min(8<<20, j.segmentSize()), MaxBytes: 1 << 50, Start: info.After, Create: true, noSpare: true}
	o, err := o.withDefaults(dir)
	if err != nil {
		return nil, err
	}
	o.IndexDir = ""
	return open(dir, o)
}

// fillBranch copies the batches up to head.
func (j *Journal) fillBranch(b *Journal, r *reader, head redoubt.LSN, info *BranchInfo) error {
	d := dirtyMap{}
	ws := make([]redoubt.Write, 0, maxBatch)
	put := func(e redoubt.Epoch) error {
		if len(ws) == 0 {
			return nil
		}
		if e > b.Epoch() {
			if err := b.SetEpoch(e); err != nil {
				return err
			}
		}
		b.appendMu.Lock()
		defer b.appendMu.Unlock()
		return b.append("save branch", e, ws)
	}
	for r != nil {
		h, payload, ok, err := r.next(true)
		if err != nil {
			return err
		}
		if !ok || h.first > head {
			break
		}
		if !h.part { // else the parts of one LSN are gathered
			ws = ws[:0]
		}
		if _, err := h.records(payload, func(w *redoubt.Write) (bool, error) {
			if w.LSN <= info.After.LSN {
				return true, nil
			}
			if info.Records == 0 {
				info.FirstTime = w.Time
			}
			info.LastTime, info.Last = w.Time, w.LSN
			info.Records++
			info.Bytes += int64(len(w.Data))
			if w.Kind == redoubt.KindWrite || w.Kind.Zeroes() {
				d.add(w.Disk, w.Extent)
			}
			ws = append(ws, *w)
			return true, nil
		}); err != nil {
			return err
		}
		if h.more {
			continue
		}
		if err := put(h.epoch); err != nil {
			return err
		}
	}
	for disk, list := range d.result() {
		for _, e := range list {
			info.Disks[disk.String()] += e.Len
		}
	}
	if info.Head.Epoch > b.Epoch() {
		if err := b.SetEpoch(info.Head.Epoch); err != nil {
			return err
		}
	}
	info.Head = b.Head()
	return b.Sync(context.Background(), b.Head().LSN)
}

// OpenBranch opens a saved branch for reading: Replay, Dirty, Head and the
// like work, changes give redoubt.ErrReadOnly.
func OpenBranch(dir string, o Options) (*Journal, error) {
	o.readOnly, o.Create = true, false
	return Open(dir, o)
}

// DescribeBranch reads a saved branch and says what it holds. A branch whose
// records are of several epochs is described as one of the last.
func DescribeBranch(dir string, o Options) (info BranchInfo, err error) {
	b, err := OpenBranch(dir, o)
	if err != nil {
		return info, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	after := b.Tail() - 1
	info = BranchInfo{Dir: dir, Head: b.Head(), After: redoubt.Position{Epoch: b.Epoch(), LSN: after}, First: after + 1, Last: after, Disks: map[string]uint64{}}
	err = b.Replay(info.First, func(w *redoubt.Write) error {
		if info.Records == 0 {
			info.FirstTime = w.Time
		}
		info.Last, info.LastTime = w.LSN, w.Time
		info.Records, info.Bytes = info.Records+1, info.Bytes+int64(len(w.Data))
		return nil
	})
	if err != nil {
		return info, err
	}
	changed, err := b.Dirty(after)
	for disk, es := range changed {
		for _, e := range es {
			info.Disks[disk.String()] += e.Len
		}
	}
	return info, err
}
