package segment

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
)

// Options of a Log.
type Options struct {
	FS         vfs.FS
	Logger     *slog.Logger
	FileSize   int64 // bytes that a file has at most, but for one that begins with a larger batch; default 256 MiB
	CacheBytes int64 // bound on memory for what sealed files list, and for headers; default 16 MiB
}

// Log is the shard log of one node. All methods may be called concurrently.
// After the first failed write or sync every Put and Delete fails with
// ErrFailed until the log is opened again; reads go on.
//
// Memory: CacheBytes, a record of some hundred bytes for each file, the list of the file
// that is written, and a bit for each record of a file of which some are forgotten.
type Log struct {
	o   Options
	dir string

	mu      sync.RWMutex
	open    map[key]record // of the file that is written; keys with the Log's numbers
	series  map[seriesName]uint32
	files   map[uint64]*logFile
	ranges  ranges
	removed int    // files since ranges was purged
	shape   uint64 // rises when a file is sealed, removed, or listed anew
	damaged []Damage
	bytes   int64
	closed  bool
	failed  error

	mending     sync.Mutex // one file is listed anew at a time
	directories *cache.Cache[uint64, *directory]
	pages       *cache.Cache[pageKey, []byte]
	headers     *cache.Cache[place, *header]
	queue       chan *request
	done        chan struct{}
	stopped     sync.WaitGroup
	stats       writerStats
	cached      atomic.Bool // the file system has no direct reads
}

// record is what the open file has of a key: a shard, or that it is deleted.
type record struct {
	place
	deleted bool
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
	p, ok, err := l.find(s.ID)
	if err != nil {
		return &redoubt.Error{Op: "put shard", Object: s.ID.String(), Err: err}
	}
	if ok {
		if old, err := l.header(p); err == nil {
			if old.same(h) {
				return nil
			}
			return &redoubt.Error{Op: "put shard", Object: s.ID.String(), Err: redoubt.ErrExists}
		}
		if err := l.Forget(s.ID); err != nil {
			return err
		}
	}
	return l.submit(ctx, &request{h: h, head: s.Head, data: s.Data})
}

// Delete forgets the shards for ever; it returns when that is durable. Their
// space comes back when their file is rewritten.
func (l *Log) Delete(ctx context.Context, ids ...ID) error {
	for _, id := range ids {
		if has, err := l.Has(id); err != nil {
			return err
		} else if !has {
			continue
		}
		old, err := l.copies(id)
		if err != nil {
			return err
		}
		if err := l.submit(ctx, &request{h: newTombstone(id), kills: old}); err != nil {
			return err
		}
	}
	return nil
}

// Damaged lists the damage below the durable watermark that was found since the log was opened.
func (l *Log) Damaged() []Damage {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return append([]Damage(nil), l.damaged...)
}

// Stats are figures about a Log since it was opened.
type Stats struct {
	Files  int
	Shards int    // also of shards that were replaced or deleted before the log was opened, until Each has passed them
	Bytes  int64  // in log files, including headers and deleted shards
	Puts   uint64 // records written
	Syncs  uint64 // fsyncs that made them durable
	Memory int64  // that lists and headers take now
}

// Stats returns the present figures.
func (l *Log) Stats() Stats {
	pages, dirs, headers := l.pages.Stats(), l.directories.Stats(), l.headers.Stats()
	l.mu.RLock()
	defer l.mu.RUnlock()
	st := Stats{Files: len(l.files), Bytes: l.bytes, Puts: l.stats.puts.Load(), Syncs: l.stats.syncs.Load(),
		Memory: pages.Bytes + dirs.Bytes + headers.Bytes + int64(l.ranges.n)*stretchBytes}
	for _, f := range l.files {
		if t := f.list; t != nil {
			st.Shards += t.shards - t.deadCount
			st.Memory += int64(8*len(t.dead) + len(t.mem))
		}
	}
	for _, r := range l.open {
		if !r.deleted {
			st.Shards++
		}
	}
	return st
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

func closeAll(files map[uint64]*logFile) error {
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
