package fsload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
)

// Judge compares the folders, mounted anew, with what must be there, and goes
// on from what it found. It says how much was checked. Call it before Run.
func (l *Load) Judge() (files, bytes int, err error) {
	var errs []error
	for _, w := range l.workers {
		f, b, err := w.judge()
		files, bytes = files+f, bytes+b
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return files, bytes, err
	}
	return files, bytes, syncFS(l.root) // what was found is the new ground
}

func (w *worker) judge() (files, bytes int, err error) {
	entries, err := os.ReadDir(w.dir)
	if errors.Is(err, fs.ErrNotExist) && w.folder == nil {
		return 0, 0, nil // before its first life
	}
	if err != nil {
		return 0, 0, err
	}
	var errs []error
	found, there := map[string]*file{}, map[*file]bool{}
	for _, e := range entries {
		content, err := os.ReadFile(filepath.Join(w.dir, e.Name()))
		if err != nil {
			errs = append(errs, err)
			continue
		}
		fits, err := w.whose(e.Name(), content)
		if err != nil && w.load.Ghosts && w.ghost(e.Name(), content) {
			w.load.Seen++
			errs = append(errs, os.Remove(w.path(e.Name())))
			continue
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, f := range fits {
			there[f] = true
		}
		f := fits[len(fits)-1]
		found[e.Name()] = f
		files, bytes = files+1, bytes+len(content)
		defer f.adopt(content) // after all comparisons
	}
	errs = append(errs, w.missing(found, there)...)
	if err := errors.Join(errs...); err != nil {
		return files, bytes, err
	}
	w.folder = newFolder()
	for name, f := range found {
		f.removed = false
		w.folder.set(name, f)
		w.folder.names[name] = []*file{f}
	}
	return files, bytes, nil
}

// whose returns the files that a name may stand for and whose content this may
// be: more than one only if the content is empty or a hole.
func (w *worker) whose(name string, content []byte) (fits []*file, err error) {
	errs := []error{fmt.Errorf("%s/%s, %s, is not what it must be", w.dir, name, describe(content))}
	for _, f := range w.folder.names[name] {
		if f == nil {
			continue
		}
		if err := f.check(content); err != nil {
			errs = append(errs, err)
			continue
		}
		fits = append(fits, f)
	}
	if fits != nil {
		return fits, nil
	}
	if len(errs) == 1 {
		errs = append(errs, errors.New("the name was never made, or its removal was durable"))
	}
	return nil, errors.Join(errs...)
}

// ghost tells whether a name that may be missing stands for what it once stood for.
func (w *worker) ghost(name string, content []byte) bool {
	if now := w.folder.names[name]; now != nil && !slices.Contains(now, nil) {
		return false
	}
	return slices.ContainsFunc(w.folder.past[name], func(f *file) bool {
		for i := 0; i+CellSize <= len(content); i += CellSize {
			if _, err := readCell(content[i:i+CellSize], f.id, i/CellSize); err != nil {
				return false
			}
		}
		return true
	})
}

// missing names what must be there and was not found.
func (w *worker) missing(found map[string]*file, there map[*file]bool) (errs []error) {
	for name, fs := range w.folder.names {
		mayLack := false
		for _, f := range fs {
			mayLack = mayLack || f == nil
		}
		if found[name] == nil && !mayLack {
			errs = append(errs, fmt.Errorf("%s/%s is gone; its name was durable", w.dir, name))
		}
	}
	for _, f := range w.folder.kept() {
		if !there[f] {
			errs = append(errs, fmt.Errorf("%s: file %d is under none of its names, though nobody removed it", w.dir, f.id))
		}
	}
	return errs
}

// describe names the file and the writes that content claims to be of.
func describe(content []byte) string {
	for i := 0; i+CellSize <= len(content); i += CellSize {
		if c := content[i:]; binary.LittleEndian.Uint32(c) == cellMagic {
			return fmt.Sprintf("%d cells of file %d (cell %d is of write %d)", len(content)/CellSize,
				binary.LittleEndian.Uint64(c[4:]), i/CellSize, binary.LittleEndian.Uint64(c[12:]))
		}
	}
	return fmt.Sprintf("%d cells without a stamp", len(content)/CellSize)
}
