package vfs

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/redoubt-dr/redoubt"
)

// Lost makes an error of reading what the disk cannot read (EIO) one of
// redoubt.ErrCorrupt, too: for data that can be made again, it is as lost as what
// does not hold. Other errors stay as they are.
func Lost(err error) error {
	if errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt)
	}
	return err
}
