package blockdev

import (
	"errors"

	"github.com/redoubt-dr/redoubt"
)

// errnoOf maps an error of a volume to the protocol's error number.
func errnoOf(err error) uint32 {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, redoubt.ErrReadOnly), errors.Is(err, redoubt.ErrFenced), errors.Is(err, redoubt.ErrDenied):
		return errPerm
	case errors.Is(err, redoubt.ErrJournalFull):
		return errNoSpace
	case errors.Is(err, redoubt.ErrOutOfRange), errors.Is(err, redoubt.ErrInvalid):
		return errInval
	case errors.Is(err, redoubt.ErrClosed):
		return errShutdown
	}
	return errIO
}

// judge returns the error number that req deserves before anything is tried, or
// 0. It is the one place where a request is checked.
func (c *conn) judge(req request) uint32 {
	allowed, beyond := cmdFlagFUA, errInval
	write := false
	switch req.typ {
	case cmdRead:
		if c.structured {
			allowed |= cmdFlagDF
		}
	case cmdWrite:
		write, beyond = true, errNoSpace
	case cmdWriteZeroes:
		write, beyond = true, errNoSpace
		allowed |= cmdFlagNoHole | cmdFlagFastZero
	case cmdCache:
	case cmdTrim:
		write = true
	case cmdBlockStatus:
		allowed |= cmdFlagReqOne
		if !c.allocation || req.len == 0 {
			return errInval
		}
	case cmdFlush:
		if req.flags&^allowed != 0 {
			return errInval
		}
		return 0
	default:
		return errInval
	}
	e := redoubt.Extent{Off: req.off, Len: uint64(req.len)}
	switch {
	case req.flags&^allowed != 0:
		return errInval
	case write && c.export.ReadOnly:
		return errPerm
	case (req.typ == cmdRead || req.typ == cmdWrite) && req.len > MaxPayload:
		return errInval
	case !e.Within(c.vol.disk.size.Load()):
		return beyond
	}
	return 0
}
