package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/redoubt-dr/redoubt/demo/site"
)

// treeJob is a group with a file system that holds real files: the first of
// o.tree in the order of their names, until they fill o.treeMib.
func treeJob(ctx context.Context, dir string, o options) (j job, err error) {
	stage := filepath.Join(dir, "tree")
	defer func() { err = errors.Join(err, os.RemoveAll(stage)) }()
	bytes, err := takeTree(o.tree, stage, o.treeMib<<20)
	if err != nil {
		return j, err
	}
	j = job{name: fmt.Sprintf("one group, ext4 of %s (first %d MiB)", o.tree, bytes>>20), goal: 1, images: []string{filepath.Join(dir, "ext4")}}
	if err := site.MakeExt4(ctx, j.images[0], stage, bytes+bytes/4+64<<20); err != nil {
		return j, err
	}
	var st syscall.Stat_t
	if err := syscall.Stat(j.images[0], &st); err != nil {
		return j, err
	}
	j.bytes = st.Blocks * 512
	return j, nil
}

// takeTree links or copies regular files of from into the folder to, until they
// fill most bytes in blocks of 4 KiB, and returns how many they fill. What cannot
// be read is left out.
func takeTree(from, to string, most int64) (total int64, err error) {
	err = filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return nil
		}
		fi, err := d.Info()
		if err != nil {
			return nil
		}
		n := (fi.Size() + 4095) &^ 4095
		if total+n > most {
			return fs.SkipAll
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		out := filepath.Join(to, rel)
		if err := os.MkdirAll(filepath.Dir(out), 0o700); err != nil {
			return err
		}
		if os.Link(path, out) != nil { // another file system, or another's file
			if err := copyFile(path, out); errors.Is(err, fs.ErrPermission) {
				return nil
			} else if err != nil {
				return err
			}
		}
		total += n
		return nil
	})
	if err == nil && total == 0 {
		err = fmt.Errorf("-tree: no file in %s fits into %d bytes", from, most)
	}
	return total, err
}

func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
