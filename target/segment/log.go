package segment

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
)

// Options of a Log.
type Options struct {
	FS       vfs.FS
	Logger   *slog.Logger
	FileSize int64 // bytes at which a file is sealed and the next begun; default 256 MiB
}

// Log is the shard log of one node. All methods may be called concurrently.
// After the first failed write or sync every Put and Delete fails with
// ErrFailed until the log is opened again; reads go on.
type Log struct {
	o   Options
	dir string

	mu      sync.RWMutex
	at      map[key]place
	series  map[seriesName]uint32
	files   map[uint64]vfs.File
	sums    map[uint64]FileInfo
	damaged []Damage
	bytes   int64
	closed  bool
	failed  error

	headers *cache.Cache[place, *header]
	queue   chan *request
	done    chan struct{}
	stopped sync.WaitGroup
	stats   writerStats
}

// key is an ID with the names interned: the map holds an entry per shard.
type key struct {
	series  uint32
	crc     uint32
	epoch   redoubt.Epoch
	ordinal uint64
	shard   uint8
}

type seriesName struct {
	group redoubt.GroupID
	uuid  string
}

// place is where a record lies, and what a reader must know before reading.
type place struct {
	file      uint64
	off       int64
	headerLen uint32
	headLen   uint32
	shardLen  uint32
	size      uint32
	k, m      uint8
}

// Damage is a part of a file that holds no valid record although it was
// durable; the shards in it are lost to this node and rebuilt from its peers.
type Damage struct {
	File     string
	Off, Len int64
	Reason   string
}

// FileInfo sums up one log file.
type FileInfo struct {
	Number  uint64
	Bytes   int64
	Shards  int
	Deleted int
	Sealed  bool
}

// Has reports whether the shard is stored. It does not read it.
func (l *Log) Has(id ID) bool {
	_, ok := l.find(id)
	return ok
}

// Info describes the stored shard id; ErrNotFound if there is none.
func (l *Log) Info(id ID) (Info, error) {
	p, ok := l.find(id)
	if !ok {
		return Info{}, notFound("find shard", id)
	}
	return Info{ID: id, K: p.k, M: p.m, Size: p.size, HeadLen: p.headLen, ShardLen: p.shardLen, File: p.file, Offset: p.off}, nil
}

func (l *Log) find(id ID) (place, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	k, ok := l.key(id)
	if !ok {
		return place{}, false
	}
	p, ok := l.at[k]
	return p, ok
}

func (l *Log) key(id ID) (key, bool) {
	s, ok := l.series[seriesName{id.Group, id.UUID}]
	return key{s, id.CRC, id.Epoch, id.Ordinal, id.Shard}, ok
}

func (l *Log) intern(id ID) key {
	n := seriesName{id.Group, id.UUID}
	if _, ok := l.series[n]; !ok {
		l.series[n] = uint32(len(l.series) + 1)
	}
	k, _ := l.key(id)
	return k
}

// Forget drops the shard from the map, so that the next Put stores it anew:
// for a shard that was found rotten. Nothing is written; after a restart the
// rotten record is back unless a later Put replaced it.
func (l *Log) Forget(id ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k, ok := l.key(id); ok {
		if p, there := l.at[k]; there {
			l.headers.Remove(p)
			delete(l.at, k)
		}
	}
}

// Put stores s and returns when it is durable. Putting the same shard again
// changes nothing; another content under the same ID is ErrExists. s and its
// slices must not change until Put returns.
func (l *Log) Put(ctx context.Context, s *Shard) error {
	if err := s.ID.validate(); err != nil {
		return err
	}
	if len(s.Data) > MaxShard || len(s.Head) > MaxHead {
		return &redoubt.Error{Op: "put shard", Object: s.ID.String(), Err: fmt.Errorf("%d + %d bytes: %w", len(s.Head), len(s.Data), redoubt.ErrInvalid)}
	}
	h := newHeader(s)
	if p, ok := l.find(s.ID); ok {
		if old, err := l.header(p); err == nil {
			if old.same(h) {
				return nil
			}
			return &redoubt.Error{Op: "put shard", Object: s.ID.String(), Err: redoubt.ErrExists}
		}
		l.Forget(s.ID)
	}
	return l.submit(ctx, &request{h: h, head: s.Head, data: s.Data})
}

// Delete forgets the shards for ever; it returns when that is durable. Their
// space comes back when their file is rewritten.
func (l *Log) Delete(ctx context.Context, ids ...ID) error {
	for _, id := range ids {
		if !l.Has(id) {
			continue
		}
		if err := l.submit(ctx, &request{h: newTombstone(id)}); err != nil {
			return err
		}
	}
	return nil
}

// Each calls fn for every stored shard, in no order, until it returns false.
// fn must not call the Log.
func (l *Log) Each(fn func(Info) bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	names := make(map[uint32]seriesName, len(l.series))
	for n, s := range l.series {
		names[s] = n
	}
	for k, p := range l.at {
		n := names[k.series]
		id := ID{Group: n.group, UUID: n.uuid, Epoch: k.epoch, Ordinal: k.ordinal, Shard: k.shard, CRC: k.crc}
		if !fn(Info{ID: id, K: p.k, M: p.m, Size: p.size, HeadLen: p.headLen, ShardLen: p.shardLen, File: p.file, Offset: p.off}) {
			return
		}
	}
}

// Damaged lists the damage that opening found below the durable watermark.
func (l *Log) Damaged() []Damage {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return append([]Damage(nil), l.damaged...)
}

// Stats are figures about a Log since it was opened.
type Stats struct {
	Files  int
	Shards int
	Bytes  int64  // in log files, including headers and deleted shards
	Puts   uint64 // records written
	Syncs  uint64 // fsyncs that made them durable
}

// Stats returns the present figures.
func (l *Log) Stats() Stats {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return Stats{Files: len(l.files), Shards: len(l.at), Bytes: l.bytes, Puts: l.stats.puts.Load(), Syncs: l.stats.syncs.Load()}
}

// Err returns the first failure, or nil.
func (l *Log) Err() error {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.failed
}

// Close waits for writes in flight and closes the files.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	close(l.done)
	l.stopped.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return closeAll(l.files)
}

func closeAll(files map[uint64]vfs.File) error {
	var first error
	for _, f := range files {
		if err := f.Close(); err != nil && first == nil {
			first = err
		}
	}
	return first
}

func notFound(op string, id ID) error {
	return &redoubt.Error{Op: op, Object: id.String(), Err: redoubt.ErrNotFound}
}
