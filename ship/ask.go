package ship

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Ask is what the operator of a source wants of the group. The secondary
// decides: the group's state is in its catalog. Nothing that takes a recovery
// point away can be asked for here: whoever has broken into a protected host
// must not reach its past.
type Ask struct {
	Op     string `json:"op"` // one of the constants below
	By     string `json:"by"` // the operator, as the source knows him
	Reason string `json:"reason,omitempty"`
}

// What can be asked.
const (
	AskPause     = "Pause"
	AskResume    = "Resume"
	AskUnprotect = "Unprotect"
	AskProtect   = "Protect"
)

// Answer says what became of an Ask. What is so already is granted again.
type Answer struct {
	Refused string `json:"refused,omitempty"` // why; empty: granted
	Hint    string `json:"hint,omitempty"`
}

// Err returns the refusal as an error that wraps redoubt.ErrState, or nil.
func (a *Answer) Err(op string, group redoubt.GroupID) error {
	if a == nil || a.Refused == "" {
		return nil
	}
	return &redoubt.Error{Op: op, Object: string(group), Err: fmt.Errorf("the secondary refuses: %s: %w", a.Refused, redoubt.ErrState), Hint: a.Hint}
}

// Hold says why the source keeps its writes to itself.
type Hold struct {
	State  string `json:"state"` // "Paused" or "Unprotected"
	By     string `json:"by,omitempty"`
	Since  int64  `json:"since,omitempty"` // Unix nanoseconds
	Reason string `json:"reason,omitempty"`
}

// MaxReason bounds the words that go with an Ask, in bytes.
const MaxReason = 512

func checkAsk(h *Hello) error {
	a := h.Ask
	if a == nil {
		return nil
	}
	fail := func(why string) error {
		return &redoubt.Error{Op: "read hello of", Object: string(h.Group), Err: fmt.Errorf("%s: %w", why, redoubt.ErrInvalid)}
	}
	switch a.Op {
	case AskPause, AskResume, AskUnprotect, AskProtect:
	default:
		return fail("it asks for something unknown")
	}
	if !h.Probe || h.Reverse || len(a.By) > maxText || len(a.Reason) > MaxReason {
		return fail("what it asks for is too long, or in the wrong place")
	}
	return nil
}
