package fsload

import (
	"fmt"
	"slices"
)

// file is what is known of a file: for its length and for each cell, the values
// that a crash may leave. Of a cell the last one is the present value; an fsync
// that succeeded leaves no other.
type file struct {
	id      uint64
	writes  uint64     // the number of the last write
	size    int        // in cells
	sizes   []span     // lengths that a crash may leave
	cells   [][]uint64 // write numbers, 0 is a hole; missing: a hole
	removed bool       // it may be without a name
	cut     bool       // shortened since the last fsync: fdatasync says nothing about it
}

// span is the lengths from lo to hi, in cells: a file gets longer page by page.
type span struct{ lo, hi int }

func newFile(id uint64) *file { return &file{id: id, sizes: []span{{}}} }

// resize notes that the length is about to change.
func (f *file) resize(cells int) {
	f.sizes = append(f.sizes, span{min(f.size, cells), max(f.size, cells)})
	f.size = cells
}

// may adds a value that a crash may leave.
func may[T comparable](values []T, v T) []T {
	if len(values) > 0 && values[len(values)-1] == v {
		return values
	}
	return append(values, v)
}

func (f *file) grow(cells int) {
	for len(f.cells) < cells {
		f.cells = append(f.cells, []uint64{0})
	}
}

// set notes that a range of cells is about to get a value.
func (f *file) set(from, n int, write uint64) {
	f.grow(from + n)
	for i := from; i < from+n; i++ {
		f.cells[i] = may(f.cells[i], write)
	}
	if from+n > f.size {
		f.resize(from + n)
	}
}

// truncate notes that the file is about to get another length.
func (f *file) truncate(cells int) {
	for i := cells; i < len(f.cells); i++ {
		f.cells[i] = may(f.cells[i], 0)
	}
	f.cut = f.cut || cells < f.size
	f.resize(cells)
}

// synced notes an fsync that succeeded.
func (f *file) synced() {
	f.sizes = []span{{f.size, f.size}}
	for i, c := range f.cells {
		f.cells[i] = c[len(c)-1:]
	}
	f.cut = false
}

// check compares content with what may be there.
func (f *file) check(content []byte) error {
	n := len(content) / CellSize
	if len(content)%CellSize != 0 || !slices.ContainsFunc(f.sizes, func(s span) bool { return s.lo <= n && n <= s.hi }) {
		return fmt.Errorf("file %d has %d bytes, must have %v cells of %d", f.id, len(content), f.sizes, CellSize)
	}
	for i := range n {
		w, err := readCell(content[i*CellSize:][:CellSize], f.id, i)
		if err != nil {
			return err
		}
		allowed := []uint64{0}
		if i < len(f.cells) {
			allowed = f.cells[i]
		}
		if !slices.Contains(allowed, w) {
			return fmt.Errorf("cell %d of file %d is of write %d, must be of %v (0: a hole)", i, f.id, w, allowed)
		}
	}
	return nil
}

// adopt makes content that passed check the only one that is known.
func (f *file) adopt(content []byte) {
	n := len(content) / CellSize
	f.size, f.sizes, f.cells, f.cut = n, []span{{n, n}}, nil, false
	for i := range n {
		w, _ := readCell(content[i*CellSize:][:CellSize], f.id, i)
		f.cells = append(f.cells, []uint64{w})
	}
}
