package segment

import (
	"context"
	"errors"
	"maps"
	"os"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Discard forgets shards that are no longer needed. Nothing is written: after a
// restart they are back until they are discarded again, or their file is gone.
// Their space comes back with Reclaim.
func (l *Log) Discard(ids ...ID) {
	for _, id := range ids {
		l.Forget(id)
	}
}

// Usage is what the sealed files of a Log hold.
type Usage struct {
	Bytes int64 // of the files
	Live  int64 // of these, of records that are still needed, and what lists them
}

// Usage adds up the sealed files. It visits every shard.
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
	listed := map[uint32]int64{} // bytes in the footer
	for n, s := range l.series {
		listed[s] = footerEntry + int64(len(n.group)+len(n.uuid))
	}
	live := map[uint64]int64{}
	for k, p := range l.at {
		live[p.file] += roundUp(int64(p.headerLen)+int64(p.headLen)+int64(p.shardLen)) + listed[k.series]
	}
	for n := range live {
		live[n] += sector + footerFixed + trailerLen
	}
	var newest uint64
	for n := range l.files {
		newest = max(newest, n)
	}
	var out []fill
	for _, n := range slices.Sorted(maps.Keys(l.files)) {
		if s := l.sums[n]; s.Sealed && n != newest {
			out = append(out, fill{number: n, bytes: s.Bytes, live: live[n], tombs: s.Deleted > 0})
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
	var infos []Info
	l.Each(func(i Info) bool {
		if i.File == file {
			infos = append(infos, i)
		}
		return true
	})
	for _, i := range infos {
		p, ok := l.find(i.ID)
		if !ok || p.file != file {
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
			l.Forget(i.ID)
			continue
		case errors.Is(err, redoubt.ErrNotFound): // discarded meanwhile
			continue
		case err != nil:
			return err
		}
		s := &Shard{ID: i.ID, K: i.K, M: i.M, Size: i.Size, Head: head, Data: data}
		if err := l.submit(ctx, &request{h: newHeader(s), head: head, data: data, from: &p}); err != nil {
			return err
		}
		throttle(int64(len(head) + len(data)))
	}
	return nil
}

// removeFile deletes a file of which nothing is live.
func (l *Log) removeFile(n uint64) error {
	l.mu.Lock()
	for k, p := range l.at {
		if p.file == n { // put there again? a sealed file takes nothing: a bug, not a race
			l.mu.Unlock()
			return &redoubt.Error{Op: "remove shard log file", Object: fileName(l.dir, n), Err: errors.Join(redoubt.ErrState, errors.New("shard "+l.nameOf(k).String()+" is live"))}
		}
	}
	f := l.files[n]
	l.bytes -= l.sums[n].Bytes
	delete(l.files, n)
	delete(l.sums, n)
	l.mu.Unlock()
	err := l.o.FS.Remove(fileName(l.dir, n))
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	if err == nil {
		err = l.o.FS.SyncDir(l.dir)
	}
	return errors.Join(err, f.Close())
}

// nameOf is the inverse of key. l.mu is held.
func (l *Log) nameOf(k key) ID {
	for n, s := range l.series {
		if s == k.series {
			return ID{Group: n.group, UUID: n.uuid, Epoch: k.epoch, Ordinal: k.ordinal, Shard: k.shard, CRC: k.crc}
		}
	}
	return ID{}
}
