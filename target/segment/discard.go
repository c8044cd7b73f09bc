package segment

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Discard forgets shards that are no longer needed. Nothing is written: after a
// restart they are back until they are discarded again, or their file is gone.
// Their space comes back with Reclaim.
func (l *Log) Discard(ids ...ID) error {
	for _, id := range ids {
		if err := l.Forget(id); err != nil {
			return err
		}
	}
	return nil
}

// Usage is what the sealed files of a Log hold.
type Usage struct {
	Bytes int64 // of the files
	Live  int64 // of these, of records that are still needed, and what lists them
}

// Usage adds up the sealed files. What was dead before the log was opened counts
// as live until it is discarded again, or Each has passed it.
func (l *Log) Usage() Usage {
	var u Usage
	for _, f := range l.sealed() {
		u.Bytes += f.bytes
		u.Live += f.live
	}
	return u
}

// fill says how much of a sealed file is needed.
type fill struct {
	number      uint64
	bytes, live int64
	tombs       bool
}

// sealed lists the sealed files but the newest file, whose number must not be
// used again; oldest first.
func (l *Log) sealed() []fill {
	l.mu.RLock()
	defer l.mu.RUnlock()
	numbers := slices.Sorted(maps.Keys(l.files))
	var out []fill
	for _, n := range numbers[:max(len(numbers)-1, 0)] {
		if f := l.files[n]; f.list != nil {
			out = append(out, fill{number: n, bytes: f.bytes, live: f.list.live(), tombs: f.list.tombs > 0})
		}
	}
	return out
}

// Reclaim gives back the space of one sealed file, if more than the fraction
// slack of all sealed files is dead: of the file with the least live in it, or,
// if what is dead lies beside tombstones that are still needed, of the oldest
// file: before it nothing needs them any more. What is live is first written anew and made durable, at a pace that throttle
// sets, which is called with the bytes of each shard. It returns how many bytes
// the file had; 0: there was nothing to do. One call at a time.
func (l *Log) Reclaim(ctx context.Context, slack float64, throttle func(n int64)) (int64, error) {
	files := l.sealed()
	var best *fill
	var bytes, live int64
	for i := range files {
		f := &files[i]
		bytes, live = bytes+f.bytes, live+f.live
		// Tombstones count as long as an older file may hold what they delete.
		if f.tombs && i > 0 {
			continue
		}
		if best == nil || float64(f.live)*float64(best.bytes) < float64(best.live)*float64(f.bytes) {
			best = f
		}
	}
	if best == nil || best.live > 0 && float64(bytes-live) <= slack*float64(bytes) {
		return 0, nil
	}
	if float64(best.bytes-best.live) <= slack*float64(best.bytes) {
		best = &files[0]
	}
	if err := l.moveOut(ctx, best.number, throttle); err != nil {
		return 0, err
	}
	return best.bytes, l.removeFile(best.number)
}

// moveOut writes the live records of a file anew.
func (l *Log) moveOut(ctx context.Context, file uint64, throttle func(n int64)) error {
	infos, err := l.InFile(file)
	if err != nil {
		return err
	}
	for _, i := range infos {
		from, _, err := l.newest(i.ID)
		if err != nil {
			return err
		}
		if from == nil || from.t.file.number != file || from.h.Type != typeShard {
			continue // discarded or put anew meanwhile
		}
		head, err := l.ReadHead(i.ID)
		var data []byte
		if err == nil {
			data, err = l.ReadRange(i.ID, 0, i.ShardLen)
		}
		switch {
		case errors.Is(err, redoubt.ErrCorrupt): // as good as gone: repair rebuilds it
			l.o.Logger.Error("shard is rotten; it is rebuilt from the others", "shard", i.ID.String(), "err", err)
			if err := l.Forget(i.ID); err != nil {
				return err
			}
			continue
		case errors.Is(err, redoubt.ErrNotFound): // discarded meanwhile
			continue
		case err != nil:
			return err
		}
		s := &Shard{ID: i.ID, K: i.K, M: i.M, Size: i.Size, Head: head, Data: data}
		if err := l.submit(ctx, &request{h: newHeader(s), head: head, data: data, from: from}); err != nil {
			return err
		}
		throttle(int64(len(head) + len(data)))
	}
	return nil
}

// removeFile deletes a file of which nothing is live.
func (l *Log) removeFile(n uint64) error {
	left, err := l.InFile(n)
	if err == nil && len(left) > 0 { // put there again? a sealed file takes nothing: a bug, not a race
		err = fmt.Errorf("shard %s is live: %w", left[0].ID, redoubt.ErrState)
	}
	if err != nil {
		return &redoubt.Error{Op: "remove shard log file", Object: logFiles.Name(l.dir, n), Err: err}
	}
	l.mu.Lock()
	f := l.files[n]
	l.bytes -= f.bytes
	delete(l.files, n)
	l.shape++
	if l.removed++; l.removed > 64+len(l.files) {
		l.purge()
	}
	l.mu.Unlock()
	l.directories.Remove(f.list.id)
	err = l.o.FS.Remove(logFiles.Name(l.dir, n))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = l.o.FS.SyncDir(l.dir)
	}
	return errors.Join(err, f.Close())
}

// purge forgets where files lay that are gone. l.mu is held.
func (l *Log) purge() {
	l.removed = 0
	numbers := slices.Sorted(maps.Keys(l.files))
	l.ranges.purge(func(first, last uint64) bool {
		i, _ := slices.BinarySearch(numbers, first)
		return i < len(numbers) && numbers[i] <= last
	})
}
