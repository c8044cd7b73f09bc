package oracle

import (
	"errors"
	"fmt"
	"syscall"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// What go-nbd's protocol package has no name for. The numbers are those of the
// NBD protocol document.
const (
	optExportName = 1

	clientFixedNewstyle = 1
	clientNoZeroes      = 2
	serverNoZeroes      = 2

	cmdFlush       = 3
	cmdTrim        = 4
	cmdWriteZeroes = 6

	cmdFlagFUA    = 1
	cmdFlagNoHole = 2

	maxOptionLen  = 4096 + 64
	maxRequestLen = 32 << 20
)

// Transmission flags of an export.
const (
	FlagHasFlags    uint16 = protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS
	FlagReadOnly    uint16 = 1 << 1
	FlagFlush       uint16 = 1 << 2
	FlagFUA         uint16 = 1 << 3
	FlagTrim        uint16 = 1 << 5
	FlagWriteZeroes uint16 = 1 << 6
	FlagMultiConn   uint16 = protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN
)

// ErrRemote is a request that the server answered with an error: the
// connection is still good. Code is the NBD error number.
type ErrRemote struct {
	Op   string
	Code uint32
}

// Error returns the operation and the errno's text.
func (e *ErrRemote) Error() string { return fmt.Sprintf("nbd %s: %v", e.Op, syscall.Errno(e.Code)) }

// Is reports whether target is the same errno, so that
// errors.Is(err, syscall.EPERM) works.
func (e *ErrRemote) Is(target error) bool {
	var no syscall.Errno
	return errors.As(target, &no) && uint32(no) == e.Code
}

// refused reports whether an NBD error says that the request changed nothing.
// After any other error the disk may hold the old or the new bytes.
func refused(code uint32) bool {
	switch syscall.Errno(code) {
	case syscall.EPERM, syscall.EINVAL, syscall.ENOSPC, syscall.ENOTSUP, syscall.ESHUTDOWN:
		return true
	}
	return false
}
