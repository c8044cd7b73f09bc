package journal

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// The facts are what must survive everything and cannot be read from the
// segments. Two files hold the same content, each pre-written and overwritten
// in place, one after the other: a torn write leaves the other whole, damage
// of one at rest loses nothing, and a full disk does not stand in the way.
//
//	+-----------------+-------------+------------+--------------------+-------------+
//	| magic "RDBTFACT"| version u32 | CRC32C u32 | body length u64    | body (JSON) |
//	+-----------------+-------------+------------+--------------------+-------------+
//	0                 8             12           16                   24
//
// The checksum covers everything from byte 16 to the end of the body.
const (
	magicFacts = "RDBTFACT"
	factsHead  = 24
	factsGrain = 64 << 10 // files grow by this much, in bytes
	factsMax   = 16 << 20 // a larger file is damaged
)

// factsName returns the two files' names.
func factsNames(dir string) [2]string {
	return [2]string{filepath.Join(dir, "facts-a"), filepath.Join(dir, "facts-b")}
}

// cursorFact is a cursor's place. Serial tells cursors of the same name apart.
type cursorFact struct {
	Serial uint64      `json:"serial"`
	Acked  redoubt.LSN `json:"acked"`
}

// facts is the body. Fields are never reused with another meaning.
type facts struct {
	Serial      uint64           `json:"serial"` // of this body; the higher one is newer
	ID          string           `json:"id"`     // journal id, hex
	SegmentSize int64            `json:"segment_size"`
	Base        redoubt.Position `json:"base"` // position before the first record since the creation or the last reset
	Resets      uint64           `json:"resets"`
	MinSeq      uint64           `json:"min_seq"`  // segments of lower seq were forgotten by a reset
	NextSeq     uint64           `json:"next_seq"` // seqs below may have been used
	Epoch       redoubt.Epoch    `json:"epoch"`
	Incarnation uint64           `json:"incarnation"` // of the last open
	Clean       bool             `json:"clean"`       // closed in order; nothing follows Watermark
	Watermark   redoubt.LSN      `json:"watermark"`   // durable for sure
	Tail        redoubt.LSN      `json:"tail"`        // records below may be gone
	Applied     redoubt.LSN      `json:"applied"`
	NextCursor  uint64           `json:"next_cursor"`
	Gap         *gapFact         `json:"gap,omitempty"` // what was given up; never changed in place

	Cursors map[string]cursorFact `json:"cursors,omitempty"`
	State   map[string][]byte     `json:"state,omitempty"`
}

func (f *facts) id() (id journalID, err error) {
	b, err := hex.DecodeString(f.ID)
	if err != nil || len(b) != len(id) {
		return id, fmt.Errorf("journal id %q: %w", f.ID, redoubt.ErrCorrupt)
	}
	return journalID(b), nil
}

// clone returns a deep enough copy: values of State are never changed in place.
func (f *facts) clone() facts {
	c := *f
	c.Cursors, c.State = maps.Clone(f.Cursors), maps.Clone(f.State)
	if c.Cursors == nil {
		c.Cursors = map[string]cursorFact{}
	}
	if c.State == nil {
		c.State = map[string][]byte{}
	}
	return c
}

func (f *facts) encode() ([]byte, error) {
	body, err := json.Marshal(f)
	if err != nil {
		return nil, err
	}
	if len(body) > factsMax-factsHead {
		return nil, fmt.Errorf("%d bytes of state: %w", len(body), redoubt.ErrInvalid)
	}
	b := make([]byte, factsHead, factsHead+len(body))
	copy(b, magicFacts)
	le.PutUint32(b[8:], version)
	le.PutUint64(b[16:], uint64(len(body)))
	b = append(b, body...)
	le.PutUint32(b[12:], redoubt.Checksum(b[16:]))
	return b, nil
}

func decodeFacts(b []byte) (*facts, error) {
	if len(b) < factsHead || string(b[:8]) != magicFacts {
		return nil, fmt.Errorf("no %s: %w", magicFacts, redoubt.ErrCorrupt)
	}
	n := le.Uint64(b[16:])
	if n > uint64(len(b)-factsHead) || le.Uint32(b[12:]) != redoubt.Checksum(b[16:factsHead+n]) {
		return nil, fmt.Errorf("checksum of the facts: %w", redoubt.ErrCorrupt)
	}
	if v := le.Uint32(b[8:]); v != version {
		return nil, fmt.Errorf("facts version %d: %w", v, redoubt.ErrVersion)
	}
	f := new(facts)
	if err := json.Unmarshal(b[factsHead:factsHead+n], f); err != nil {
		return nil, fmt.Errorf("facts: %w: %w", redoubt.ErrCorrupt, err)
	}
	c := f.clone()
	return &c, nil
}

func readFacts(fsys vfs.FS, name string) (*facts, error) {
	f, err := fsys.OpenFile(name, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > factsMax {
		return nil, fmt.Errorf("%d bytes of facts: %w", size, redoubt.ErrCorrupt)
	}
	b := make([]byte, size)
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	return decodeFacts(b)
}

// loadFacts reads the newer valid copy and says which it is. fs.ErrNotExist
// means that there is no journal.
func loadFacts(fsys vfs.FS, dir string) (*facts, int, error) {
	names := factsNames(dir)
	a, errA := readFacts(fsys, names[0])
	b, errB := readFacts(fsys, names[1])
	switch {
	case errors.Is(errA, redoubt.ErrVersion):
		return nil, 0, errA
	case errors.Is(errB, redoubt.ErrVersion):
		return nil, 0, errB
	case errA == nil && (errB != nil || a.Serial >= b.Serial):
		return a, 0, nil
	case errB == nil:
		return b, 1, nil
	case errors.Is(errA, fs.ErrNotExist) && errors.Is(errB, fs.ErrNotExist):
		return nil, 0, fs.ErrNotExist
	}
	return nil, 0, errors.Join(errA, errB)
}

// factsFile writes the facts. It is used by one goroutine at a time.
type factsFile struct {
	fs    vfs.FS
	dir   string
	files [2]vfs.File
	size  [2]int64
	good  int // a copy that is whole and new: the other one is written first
}

// createFacts makes the first copy appear whole or not at all.
func createFacts(fsys vfs.FS, dir string, f *facts) error {
	b, err := f.encode()
	if err != nil {
		return err
	}
	name := factsNames(dir)[0]
	file, err := fsys.OpenFile(name+".tmp", os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	if err = writeFull(file, append(b, make([]byte, factsGrain-len(b)%factsGrain)...), 0); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(name+".tmp", name); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

func openFactsFile(fsys vfs.FS, dir string, good int) (*factsFile, error) {
	ff := &factsFile{fs: fsys, dir: dir, good: good}
	for i, name := range factsNames(dir) {
		f, err := fsys.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			ff.close()
			return nil, err
		}
		ff.files[i] = f
		if ff.size[i], err = f.Size(); err != nil {
			ff.close()
			return nil, err
		}
	}
	if err := fsys.SyncDir(dir); err != nil {
		ff.close()
		return nil, err
	}
	return ff, nil
}

// settle writes the copy that was read once more, in place: after a write-back
// that failed it may be in the page cache only, and write begins with the other one.
func (ff *factsFile) settle() error {
	f := ff.files[ff.good]
	b := make([]byte, ff.size[ff.good]) // at most factsMax, or it had not been read
	if err := readFull(f, b, 0); err != nil {
		return err
	}
	if err := writeFull(f, b, 0); err != nil {
		return err
	}
	return f.Sync()
}

// reserve makes room for n bytes in both copies. It touches no byte in use, so
// a full disk here harms nothing.
func (ff *factsFile) reserve(n int64) error {
	want := (n + factsGrain - 1) / factsGrain * factsGrain
	for i, f := range ff.files {
		if ff.size[i] >= want {
			continue
		}
		if err := writeFull(f, make([]byte, want-ff.size[i]), ff.size[i]); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
		ff.size[i] = want
	}
	return nil
}

// write makes b the content of both copies, durably. It is committed when the
// first copy is synced.
func (ff *factsFile) write(b []byte) error {
	for _, f := range []vfs.File{ff.files[1-ff.good], ff.files[ff.good]} {
		if err := writeFull(f, b, 0); err != nil {
			return err
		}
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return nil
}

func (ff *factsFile) close() error {
	var err error
	for _, f := range ff.files {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return err
}
