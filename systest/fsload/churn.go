package fsload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// churn makes the file system change its metadata all the time: folders, links,
// attributes, allocations, nothing of it synced. That an operation makes no
// sense where it falls (a missing name, a full folder) is part of it.
type churn struct {
	dir string
	rng *rand.Rand
}

func (c *churn) run(ctx context.Context) {
	os.MkdirAll(c.dir, 0o700)
	for ctx.Err() == nil {
		err := c.step()
		for _, gone := range []error{syscall.EIO, syscall.EROFS, syscall.ENOTCONN, syscall.ESHUTDOWN, syscall.EUCLEAN} {
			if errors.Is(err, gone) {
				return // the workers tell
			}
		}
	}
}

// name is one of 8 folders, or one of 12 names in one of them.
func (c *churn) name(inFolder bool) string {
	p := filepath.Join(c.dir, fmt.Sprint("d", c.rng.IntN(8)))
	if inFolder {
		p = filepath.Join(p, fmt.Sprint("e", c.rng.IntN(12)))
	}
	return p
}

func (c *churn) step() error {
	a, b := c.name(true), c.name(true)
	switch c.rng.IntN(13) {
	case 0:
		return os.Mkdir(c.name(false), 0o700)
	case 1:
		return os.RemoveAll(c.name(false))
	case 2:
		return os.Rename(c.name(false), c.name(false))
	case 3, 4, 5:
		return os.WriteFile(a, make([]byte, c.rng.IntN(64<<10)), 0o600)
	case 6:
		return os.Link(a, b)
	case 7:
		return os.Symlink(b, a)
	case 8:
		return os.Rename(a, b)
	case 9:
		return unix.Lsetxattr(a, "trusted.redoubt", make([]byte, c.rng.IntN(2000)), 0)
	case 10:
		return os.Truncate(a, c.rng.Int64N(1<<20))
	case 11:
		return c.allocate(a)
	}
	return os.Remove(a)
}

// allocate reserves space that nothing is written to.
func (c *churn) allocate(path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), 0, c.rng.Int64N(64<<10), 1+c.rng.Int64N(64<<10))
}
