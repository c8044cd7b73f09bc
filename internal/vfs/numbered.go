package vfs

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Numbered is the suffix of files that are named by their number, in 16 hexadecimal
// digits.
type Numbered string

// Name returns the path of file n in dir.
func (s Numbered) Name(dir string, n uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%016x%s", n, string(s)))
}

// List returns the numbers of the files in dir, rising. Other names are passed over.
func (s Numbered) List(fs FS, dir string) ([]uint64, error) {
	es, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ns []uint64
	for _, e := range es {
		if n, ok := s.parse(e.Name()); ok {
			ns = append(ns, n)
		}
	}
	slices.Sort(ns)
	return ns, nil
}

func (s Numbered) parse(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, string(s))
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil
}
