package journal

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Defaults and bounds of Options, in bytes.
const (
	DefaultSegmentSize = 64 << 20
	MinSegmentSize     = 1 << 20
	MaxSegmentSize     = 1 << 30
	DefaultMaxBytes    = 4 << 30
)

// Options say how Open works. The zero value opens an existing journal on the
// host's file system with the defaults.
type Options struct {
	FS     vfs.FS           // default vfs.OS
	Now    func() time.Time // default time.Now
	Logger *slog.Logger     // default: nothing is logged

	// SegmentSize is the size of a segment file of a NEW journal, in bytes:
	// default 64 MiB, at least 1 MiB, and no more than half of MaxBytes. An
	// existing journal keeps the size that it was made with.
	SegmentSize int64
	// MaxBytes bounds all segment files together (default 4 GiB, at least two
	// segments). Append returns redoubt.ErrJournalFull when it is reached.
	MaxBytes int64
	// Preallocate makes all segment files at Open, so that the space is reserved
	// and no append waits for a new file. It takes as long as writing MaxBytes.
	Preallocate bool
	// Start is the position before the first record of a NEW journal.
	Start redoubt.Position
	// Create makes the journal if there is none.
	Create bool

	// IndexDir is Badger's folder on the host's file system. The default is
	// "index" in the journal's folder when FS is vfs.OS, and no index otherwise:
	// it only makes opening faster.
	IndexDir string

	index    func() (index, error) // tests put their own here
	readOnly bool                  // a branch: takes no records
	noSpare  bool                  // no segment is prepared ahead
	slack    int64                 // of a dirty map's file; tests let it be rewritten often
}

func (o Options) withDefaults(dir string) (Options, error) {
	if o.FS == nil {
		o.FS = vfs.OS
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = DefaultMaxBytes
	}
	if o.slack == 0 {
		o.slack = dirtySlack
	}
	if o.SegmentSize == 0 {
		o.SegmentSize = min(DefaultSegmentSize, max(MinSegmentSize, padded(o.MaxBytes/4)))
	}
	o.SegmentSize = padded(o.SegmentSize)
	if o.SegmentSize < MinSegmentSize || o.SegmentSize > MaxSegmentSize || o.MaxBytes < 2*MinSegmentSize {
		return o, &redoubt.Error{Op: "open journal", Object: dir, Hint: "segment size 1 MiB to 1 GiB; max bytes at least two segments",
			Err: fmt.Errorf("segment size %d, max bytes %d: %w", o.SegmentSize, o.MaxBytes, redoubt.ErrInvalid)}
	}
	o.SegmentSize = max(MinSegmentSize, min(o.SegmentSize, o.MaxBytes/2&^(pageSize-1)))
	if o.IndexDir == "" && o.FS == vfs.OS && !o.readOnly {
		o.IndexDir = filepath.Join(dir, "index")
	}
	return o, nil
}
