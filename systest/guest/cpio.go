package guest

import (
	"fmt"
	"io"
)

// cpio writes an initramfs: the "newc" format of the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst. The first error
// stays.
type cpio struct {
	w     io.Writer
	inode int
	err   error
}

const (
	modeDir  = 0o040755
	modeFile = 0o100755
	modeLink = 0o120777
)

// add writes an entry; its path has no leading slash, a link's content is its target.
func (c *cpio) add(path string, mode int, content []byte) {
	c.inode++
	links := 1
	if mode == modeDir {
		links = 2
	}
	// magic, ino, mode, uid, gid, nlink, mtime, size, dev, rdev, length of the name, check
	c.write(fmt.Appendf(nil, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s\x00",
		c.inode, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(path)+1, 0, path))
	c.write(content)
}

func (c *cpio) close() error {
	c.add("TRAILER!!!", 0, nil)
	return c.err
}

// write pads to 4 bytes; every entry begins at such a place.
func (c *cpio) write(p []byte) {
	for _, b := range [][]byte{p, make([]byte, (4-len(p)%4)%4)} {
		if c.err == nil {
			_, c.err = c.w.Write(b)
		}
	}
}
