package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
)

// The exit codes; docs/CLI.md promises them.
const (
	exitOK          = 0
	exitFailed      = 1 // anything else
	exitUsage       = 2 // wrong flags, arguments, configuration
	exitNotFound    = 3 // no such group, disk, point, export, file
	exitState       = 4 // not allowed now: state, fenced, read-only, exists
	exitUnavailable = 5 // no contact, too few nodes, time-out
	exitDenied      = 6 // certificate or permission
	exitDamage      = 7 // stored data does not match its checksum
	exitInterrupted = 130
)

func exitCode(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, redoubt.ErrDenied):
		return exitDenied
	case errors.Is(err, redoubt.ErrCorrupt), errors.Is(err, redoubt.ErrGap):
		return exitDamage
	case errors.Is(err, redoubt.ErrFenced), errors.Is(err, redoubt.ErrState), errors.Is(err, redoubt.ErrReadOnly), errors.Is(err, redoubt.ErrExists):
		return exitState
	case errors.Is(err, redoubt.ErrNotFound):
		return exitNotFound
	case errors.Is(err, redoubt.ErrInvalid), errors.Is(err, redoubt.ErrOutOfRange):
		return exitUsage
	case errors.Is(err, redoubt.ErrUnavailable), errors.Is(err, context.DeadlineExceeded), errors.Is(err, redoubt.ErrClosed):
		return exitUnavailable
	}
	return exitFailed
}

// finish reports err and returns the exit code.
func (a *app) finish(ctx context.Context, err error) int {
	if err == nil {
		return exitOK
	}
	if admin.ReasonOf(err) == admin.ReasonInternal && errors.Is(err, fs.ErrNotExist) {
		err = missingFile{err}
	}
	code := exitCode(err)
	hint := redoubt.Hint(err)
	switch {
	case ctx.Err() != nil && !errors.Is(err, redoubt.ErrCorrupt):
		code = exitInterrupted
		if hint == "" && a.asked {
			hint = "if the node had begun anything, it goes on: redoubt status, redoubt job list"
		}
	case !a.started && code == exitFailed: // cobra's own: an unknown flag, a bad value
		code = exitUsage
		err = usageError(err.Error())
		hint = "redoubt COMMAND --help shows flags and arguments"
	}
	if a.json {
		doc := struct {
			Error jsonError `json:"error"`
		}{jsonError{Reason: string(admin.ReasonOf(err)), Message: err.Error(), Hint: hint, ExitCode: code}}
		enc := json.NewEncoder(a.err)
		enc.SetEscapeHTML(false)
		if enc.Encode(doc) == nil {
			return code
		}
	}
	fmt.Fprintf(a.err, "error: %s\n", strings.TrimSpace(err.Error()))
	if hint != "" {
		fmt.Fprintf(a.err, "hint: %s\n", hint)
	}
	return code
}

type jsonError struct {
	Reason   string `json:"reason"`
	Message  string `json:"message"`
	Hint     string `json:"hint"`
	ExitCode int    `json:"exit_code"`
}

// missingFile is the error of a file or folder of this host that is not there; it
// is redoubt.ErrNotFound without saying so.
type missingFile struct{ error }

func (e missingFile) Unwrap() error { return e.error }

// Is makes errors.Is find redoubt.ErrNotFound.
func (missingFile) Is(target error) bool { return target == redoubt.ErrNotFound }

// usageError is a mistake on the command line; it wraps redoubt.ErrInvalid
// without saying so.
type usageError string

func (e usageError) Error() string { return string(e) }
func (e usageError) Unwrap() error { return redoubt.ErrInvalid }

func usage(c *cobra.Command, hint, format string, v ...any) error {
	return &redoubt.Error{Op: c.CommandPath(), Err: usageError(fmt.Sprintf(format, v...)), Hint: hint}
}
