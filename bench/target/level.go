package main

import (
	"errors"
	"os"
	"path/filepath"
)

// levelMemory writes a file of twice n bytes and removes it, so that whoever is
// measured next finds as much page cache that was just freed. In a virtual machine
// memory that the host must give first costs several times as much, and whoever
// came second would have it from the first.
func levelMemory(dir string, n int64) (err error) {
	name := filepath.Join(dir, "level")
	defer func() { err = errors.Join(err, os.Remove(name)) }()
	return randomImage(name, 2*n)
}
