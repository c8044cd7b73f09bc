package redoubt

import (
	"errors"
	"strings"
)

// The conditions that callers test for with errors.Is. Each is wrapped in an
// Error that says what was done to which object.
var (
	// ErrInvalid: the input is wrong; nothing was changed.
	ErrInvalid = errors.New("invalid")
	// ErrNotFound: no such group, disk, node, point or export.
	ErrNotFound = errors.New("not found")
	// ErrExists: it is there already, and differs.
	ErrExists = errors.New("already exists")
	// ErrState: the operation is not allowed in the group's present state.
	ErrState = errors.New("not allowed in this state")
	// ErrFenced: the caller's epoch is over; another writer has the group.
	ErrFenced = errors.New("fenced: a later epoch has taken over")
	// ErrReadOnly: the disk takes no writes at present.
	ErrReadOnly = errors.New("read-only")
	// ErrOutOfRange: the extent does not lie inside the disk.
	ErrOutOfRange = errors.New("outside of the disk")
	// ErrJournalFull: the journal has no room; trimming waits for the secondary or for the apply.
	ErrJournalFull = errors.New("journal full")
	// ErrCorrupt: stored or received bytes do not match their checksum or format.
	ErrCorrupt = errors.New("corrupt")
	// ErrVersion: the format is newer than this program.
	ErrVersion = errors.New("written by a newer version")
	// ErrGap: an LSN does not follow the last one.
	ErrGap = errors.New("not contiguous")
	// ErrFailed: an earlier write or sync failed; nothing succeeds until it is reopened.
	ErrFailed = errors.New("failed earlier; reopen to verify and go on")
	// ErrUnavailable: too few nodes, no leader, or no contact; trying again may help.
	ErrUnavailable = errors.New("unavailable")
	// ErrDenied: the peer's certificate does not allow it.
	ErrDenied = errors.New("denied")
	// ErrScript: a script of the administrator failed or took too long.
	ErrScript = errors.New("script failed")
	// ErrClosed: used after Close.
	ErrClosed = errors.New("closed")
)

// Error says what failed, on which object, why, and what the operator can do.
type Error struct {
	Op     string // what was being done, such as "open journal"
	Object string // on what: a path, a group, an address; may be empty
	Hint   string // what the operator can do; may be empty
	Err    error  // the cause
}

// Error returns "OP OBJECT: CAUSE", without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op)
	if e.Object != "" {
		b.WriteString(" " + e.Object)
	}
	if e.Err != nil {
		b.WriteString(": " + e.Err.Error())
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns the hint of the outermost Error in err's chain that has one.
func Hint(err error) string {
	for err != nil {
		var e *Error
		if !errors.As(err, &e) {
			return ""
		}
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
