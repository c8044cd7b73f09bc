package journal

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"syscall"

	badger "github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"github.com/redoubt-dr/redoubt"
)

// indexReserve is the free space below which the index is left alone, in
// bytes: Badger writes through a memory map, and a full disk there is SIGBUS.
const indexReserve = 64 << 20

// badgerIndex is the index in Badger. Values carry their own length and
// checksum, because Badger may give back an empty or damaged value without an
// error after a power cut.
//
//	+------------+------------+-------------+
//	| length u32 | CRC32C u32 | JSON body   |      keys: "meta", "seg/" + seq (8 bytes, big endian)
//	+------------+------------+-------------+
type badgerIndex struct {
	dir   string
	db    *badger.DB
	saved map[uint64]int64 // end of each segment's row as saved
}

var errNoReserve = errors.New("too little free space for the index")

// openBadger opens the index, and makes it anew if it is damaged.
func openBadger(dir string, log *slog.Logger) (index, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := checkReserve(dir); err != nil {
		return nil, err
	}
	o := badger.DefaultOptions(dir).
		WithLogger(badgerLog{log.With("dir", dir)}).
		WithMemTableSize(8 << 20).WithNumMemtables(2).
		WithValueLogFileSize(16 << 20).WithValueThreshold(64 << 10).
		WithBaseTableSize(2 << 20).WithBaseLevelSize(8 << 20).WithNumCompactors(2).
		WithCompression(options.None).WithBlockCacheSize(0).WithIndexCacheSize(0).
		WithMetricsEnabled(false).WithDetectConflicts(false).WithNumGoroutines(1).WithSyncWrites(false)
	db, err := badger.Open(o)
	if err != nil {
		log.Warn("journal index is damaged, making it anew", "dir", dir, "err", err)
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, err
		}
		if db, err = badger.Open(o); err != nil {
			return nil, err
		}
	}
	return &badgerIndex{dir: dir, db: db, saved: map[uint64]int64{}}, nil
}

// checkReserve reports whether the file system has room for Badger's files.
func checkReserve(dir string) error {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return err
	}
	if st.Bavail*uint64(st.Bsize) < indexReserve {
		return errNoReserve
	}
	return nil
}

var (
	metaKey   = []byte("meta")
	segPrefix = []byte("seg/")
)

func segKey(seq uint64) []byte { return binary.BigEndian.AppendUint64([]byte("seg/"), seq) }

func frame(v any) ([]byte, error) {
	body, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, 8, 8+len(body))
	le.PutUint32(b, uint32(len(body)))
	le.PutUint32(b[4:], redoubt.Checksum(body))
	return append(b, body...), nil
}

func unframe(b []byte, v any) error {
	if len(b) < 8 || int(le.Uint32(b)) != len(b)-8 || le.Uint32(b[4:]) != redoubt.Checksum(b[8:]) {
		return fmt.Errorf("value in the index: %w", redoubt.ErrCorrupt)
	}
	return json.Unmarshal(b[8:], v)
}

func (x *badgerIndex) load() (*checkpoint, error) {
	c := &checkpoint{Segments: map[uint64]segmentInfo{}}
	err := x.db.View(func(t *badger.Txn) error {
		item, err := t.Get(metaKey)
		if err != nil {
			return err
		}
		if err := item.Value(func(b []byte) error { return unframe(b, c) }); err != nil {
			return err
		}
		it := t.NewIterator(badger.IteratorOptions{Prefix: segPrefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			var s segmentInfo
			if err := it.Item().Value(func(b []byte) error { return unframe(b, &s) }); err != nil {
				return err
			}
			if k := it.Item().Key(); len(k) == len(segPrefix)+8 {
				seq := binary.BigEndian.Uint64(k[len(segPrefix):])
				c.Segments[seq] = s
				x.saved[seq] = s.End
			}
		}
		return nil
	})
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil { // nothing in it is needed: begin anew
		clear(x.saved)
		return nil, errors.Join(err, x.db.DropAll())
	}
	return c, nil
}

func (x *badgerIndex) save(c *checkpoint) error {
	if err := checkReserve(x.dir); err != nil {
		if errors.Is(err, errNoReserve) {
			return nil // an old checkpoint is as good as none; try again with the next
		}
		return err
	}
	wb := x.db.NewWriteBatch()
	defer wb.Cancel()
	meta, err := frame(c)
	if err != nil {
		return err
	}
	if err := wb.Set(metaKey, meta); err != nil {
		return err
	}
	for seq := range x.saved {
		if _, ok := c.Segments[seq]; !ok {
			if err := wb.Delete(segKey(seq)); err != nil {
				return err
			}
			delete(x.saved, seq)
		}
	}
	for seq, s := range c.Segments {
		if x.saved[seq] == s.End {
			continue
		}
		b, err := frame(s)
		if err != nil {
			return err
		}
		if err := wb.Set(segKey(seq), b); err != nil {
			return err
		}
		x.saved[seq] = s.End
	}
	return wb.Flush()
}

func (x *badgerIndex) close() error { return x.db.Close() }

// badgerLog passes Badger's messages on, the chatty ones as debug.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Error("badger: " + fmt.Sprintf(f, a...)) }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Warn("badger: " + fmt.Sprintf(f, a...)) }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug("badger: " + fmt.Sprintf(f, a...)) }
func (l badgerLog) Debugf(f string, a ...any)   { l.log.Debug("badger: " + fmt.Sprintf(f, a...)) }
