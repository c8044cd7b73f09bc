package main

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
)

// diskSize returns the size of a kind of image in bytes.
func (o options) diskSize(d disk) int64 {
	if d == diskLong {
		return o.long
	}
	return o.size
}

func (o options) master(d disk) string { return filepath.Join(o.dir, string(d)) }

// makeMasters makes the images that the jobs need, but for the sparse one,
// which is new for each measurement.
func makeMasters(o options, jobs []job) error {
	for _, j := range jobs {
		path := o.master(j.disk)
		if _, err := os.Stat(path); j.disk == diskSparse || err == nil {
			continue
		}
		if err := fill(path, o.diskSize(j.disk)); err != nil {
			return err
		}
	}
	return nil
}

// fill makes an image of random data, so that nothing is a hole.
func fill(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// workplace makes a new folder with the image for one measurement: a link to
// the master, so that all rivals write the same blocks of the disk, or a hole.
// All is synced, so that no rival pays for another's dirty pages.
func workplace(o options, d disk) (dir, img string, err error) {
	if dir, err = os.MkdirTemp(o.dir, "v"); err != nil {
		return "", "", err
	}
	img = filepath.Join(dir, "disk")
	if d == diskSparse {
		err = errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, o.diskSize(d)))
	} else {
		err = os.Link(o.master(d), img)
	}
	syscall.Sync()
	return dir, img, err
}
