package crashtest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path"
	"strings"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Mode is a variant of the journal's disk that breaks the crash contract on
// purpose. A judge that does not catch it is blind.
type Mode string

// The modes. Each is a wrapper around a seam; the product itself is unchanged.
const (
	Sound    Mode = ""          // nothing is broken
	SkipSync Mode = "skip-sync" // a sync does nothing
	EarlyAck Mode = "early-ack" // a sync is done after it was reported done
	NoCRC    Mode = "no-crc"    // payload is damaged on its way to disk, and no checksum tells
	// EarlyReply is about real kills: the process reports a write before it is made.
	EarlyReply Mode = "early-reply"
)

// Modes returns all broken variants, in the order in which they run.
func Modes() []Mode { return []Mode{SkipSync, EarlyAck, NoCRC, EarlyReply} }

// ParseMode returns the mode of that name. Errors wrap redoubt.ErrInvalid.
func ParseMode(s string) (Mode, error) {
	var names []string
	for _, m := range Modes() {
		if string(m) == s {
			return m, nil
		}
		names = append(names, string(m))
	}
	return Sound, &redoubt.Error{Op: "broken variant", Object: s, Err: fmt.Errorf("no such variant: %w", redoubt.ErrInvalid),
		Hint: "variants: all, " + strings.Join(names, ", ")}
}

// breaks returns fs as mode m makes it.
func (m Mode) breaks(fs vfs.FS) vfs.FS {
	if m == Sound {
		return fs
	}
	return &brokenFS{FS: fs, mode: m}
}

// brokenFS makes the syncs or the data of the journal's segments wrong; the
// facts beside them are left alone, so that the breach is about records.
type brokenFS struct {
	vfs.FS
	mode Mode

	mu      sync.Mutex
	pending []func() error // syncs that were reported done
	batches int
}

func (b *brokenFS) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(path.Base(name), "facts") {
		return f, nil
	}
	return &brokenFile{File: f, b: b}, nil
}

// late does the syncs that were reported done before.
func (b *brokenFS) late() {
	b.mu.Lock()
	todo := b.pending
	b.pending = nil
	b.mu.Unlock()
	for _, sync := range todo {
		_ = sync() // nobody waits for it any more: that is what is broken
	}
}

type brokenFile struct {
	vfs.File
	b *brokenFS
}

func (f *brokenFile) Sync() error {
	switch f.b.mode {
	case SkipSync:
		return nil
	case EarlyAck:
		f.b.mu.Lock()
		defer f.b.mu.Unlock()
		f.b.pending = append(f.b.pending, f.File.Sync)
		return nil
	}
	return f.File.Sync()
}

func (f *brokenFile) WriteAt(p []byte, off int64) (int, error) {
	f.b.late()
	return f.File.WriteAt(p, off)
}

func (f *brokenFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.b.late()
	if f.b.mode == NoCRC {
		bufs = f.b.damage(bufs)
	}
	return f.File.WritevAt(bufs, off)
}

// damage flips a bit in the payload of every 16th batch and makes the
// checksums fit, as if nothing had been checked. See docs/formats/journal.md.
func (b *brokenFS) damage(bufs [][]byte) [][]byte {
	const offCRC, offCount, offDesc, descSize, descLen, descCRC = 12, 88, 96, 40, 24, 28
	le := binary.LittleEndian
	if len(bufs) < 2 || !strings.HasPrefix(string(bufs[0]), "RDBTJBAT") {
		return bufs
	}
	b.mu.Lock()
	b.batches++
	skip := b.batches%16 != 0
	b.mu.Unlock()
	if skip {
		return bufs
	}
	page := append([]byte(nil), bufs[0]...)
	for i := range int(le.Uint16(page[offCount:])) {
		d := page[offDesc+i*descSize:]
		if le.Uint32(d[descLen:]) == 0 {
			continue
		}
		data := append([]byte(nil), bufs[1]...)
		data[len(data)/2] ^= 4
		le.PutUint32(d[descCRC:], redoubt.Checksum(data))
		le.PutUint32(page[offCRC:], 0)
		le.PutUint32(page[offCRC:], redoubt.Checksum(page))
		return append([][]byte{page, data}, bufs[2:]...)
	}
	return bufs
}
