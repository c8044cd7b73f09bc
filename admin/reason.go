package admin

import (
	"context"
	"errors"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
)

// Reason is the stable name of a refusal's cause, as it travels in
// ErrorDetail.reason and stands in the CLI's JSON.
type Reason string

// ReasonInternal is the reason of an error that is none of the conditions
// below: a fault of the program or of the host.
const ReasonInternal Reason = "internal"

// ReasonTimeout is the reason of a call that took longer than its deadline.
const ReasonTimeout Reason = "timeout"

// ReasonCanceled is the reason of a call that its caller gave up.
const ReasonCanceled Reason = "canceled"

type condition struct {
	reason   Reason
	sentinel error
	code     connect.Code
}

// conditions are in order of preference, for an error that wraps several: who
// may act comes before what the object's state is, and that before what is
// merely out of reach.
func conditions() []condition {
	return []condition{
		{"denied", redoubt.ErrDenied, connect.CodePermissionDenied},
		{"fenced", redoubt.ErrFenced, connect.CodeAborted},
		{"state", redoubt.ErrState, connect.CodeFailedPrecondition},
		{"read_only", redoubt.ErrReadOnly, connect.CodeFailedPrecondition},
		{"not_found", redoubt.ErrNotFound, connect.CodeNotFound},
		{"exists", redoubt.ErrExists, connect.CodeAlreadyExists},
		{"out_of_range", redoubt.ErrOutOfRange, connect.CodeOutOfRange},
		{"journal_full", redoubt.ErrJournalFull, connect.CodeResourceExhausted},
		{"version", redoubt.ErrVersion, connect.CodeUnimplemented},
		{"corrupt", redoubt.ErrCorrupt, connect.CodeDataLoss},
		{"gap", redoubt.ErrGap, connect.CodeDataLoss},
		{"failed", redoubt.ErrFailed, connect.CodeInternal},
		{"invalid", redoubt.ErrInvalid, connect.CodeInvalidArgument},
		{"script", redoubt.ErrScript, connect.CodeAborted},
		{"unavailable", redoubt.ErrUnavailable, connect.CodeUnavailable},
		{"closed", redoubt.ErrClosed, connect.CodeUnavailable},
		{ReasonTimeout, context.DeadlineExceeded, connect.CodeDeadlineExceeded},
		{ReasonCanceled, context.Canceled, connect.CodeCanceled},
	}
}

// ReasonOf returns the reason of err: the same at the node that refused and at
// the client that was told.
func ReasonOf(err error) Reason { return conditionOf(err).reason }

func conditionOf(err error) condition {
	for _, c := range conditions() {
		if errors.Is(err, c.sentinel) {
			return c
		}
	}
	return condition{reason: ReasonInternal, code: connect.CodeInternal}
}

func conditionNamed(r Reason) (condition, bool) {
	for _, c := range conditions() {
		if c.reason == r {
			return c, true
		}
	}
	return condition{}, false
}

// conditionOfCode serves a refusal without detail: a proxy, another program on
// the port, or connect itself.
func conditionOfCode(code connect.Code) (condition, bool) {
	if code == connect.CodeUnauthenticated {
		return conditionNamed("denied")
	}
	for _, c := range conditions() {
		if c.code == code && code != connect.CodeInternal && code != connect.CodeDataLoss {
			return c, true
		}
	}
	return condition{}, false
}
