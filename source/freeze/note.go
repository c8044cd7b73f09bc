package freeze

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// note is what is or may be frozen, as it stands in a file: made durable before
// the first step, removed after the last. docs/formats/source.md.
type note struct {
	Version int      `json:"version"` // 1
	Group   string   `json:"group"`
	Name    string   `json:"name"` // of the bookmark
	Scripts []string `json:"scripts"`
	Mounts  []string `json:"mounts"`
}

// maxNote bounds the file, in bytes.
const maxNote = 1 << 20

func (n *note) save(path string) error {
	b, err := json.Marshal(n)
	if err != nil {
		return err
	}
	return vfs.WriteAtomic(vfs.OS, path, b)
}

// loadNote returns nil if there is none.
func loadNote(path string) (*note, error) {
	st, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	fail := func(err error) (*note, error) {
		return nil, &redoubt.Error{Op: "read note of frozen file systems", Object: path, Err: err,
			Hint: "thaw what is frozen by hand (fsfreeze --unfreeze), then remove the file"}
	}
	if err != nil {
		return fail(err)
	}
	if st.Size() > maxNote {
		return fail(fmt.Errorf("%d bytes: %w", st.Size(), redoubt.ErrCorrupt))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return fail(err)
	}
	var n note
	if err := json.Unmarshal(b, &n); err != nil {
		return fail(fmt.Errorf("%w: %w", redoubt.ErrCorrupt, err))
	}
	if n.Version != 1 {
		return fail(fmt.Errorf("format %d: %w", n.Version, redoubt.ErrVersion))
	}
	return &n, nil
}

// removeNote needs no sync: a note that comes back after a power cut thaws what
// is not frozen, which changes nothing.
func removeNote(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &redoubt.Error{Op: "remove note of frozen file systems", Object: filepath.Base(path), Err: err}
	}
	return nil
}
