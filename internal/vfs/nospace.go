package vfs

import (
	"errors"
	"syscall"
)

// IsNoSpace reports whether err says that the file system is full, or a quota on it.
func IsNoSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
