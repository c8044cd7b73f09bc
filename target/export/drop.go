package export

import (
	"errors"
	"os"
	"path/filepath"
)

// drop deletes the closed instance in dir: what it wrote, then its pin, last its
// spec, which says meanwhile that the instance is over. Whatever is left after a
// crash or an error, reopen deletes at the next start.
func drop(dir string, s Spec, unpin func(*Spec) error) error {
	s.Over = true
	_ = writeSpec(dir, s) // a full disk must not keep it from being emptied
	es, err := os.ReadDir(dir)
	for _, e := range es {
		if e.Name() != specFile {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if s.Kind == KindTest {
		err = errors.Join(err, unpin(&s))
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(dir)
}

func (m *Manager) drop(dir string, s Spec) error { return drop(dir, s, m.unpin) }

// sweep deletes folders of instances in root that have no spec: a crash came
// before it was written, and nobody was told of them.
func sweep(root string) error {
	dirs, err := filepath.Glob(filepath.Join(root, "*", "*"))
	for _, d := range dirs {
		if _, serr := os.Lstat(filepath.Join(d, specFile)); errors.Is(serr, os.ErrNotExist) {
			err = errors.Join(err, os.RemoveAll(d))
		}
	}
	return err
}
