package catalog

import (
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// outcome is what a command came to: a result or an error. It is kept in the
// dedupe table and travels to the node that proposed, so it has an encoding.
type outcome struct {
	value any // nil, Group or []CommitResult
	err   error
}

const (
	tagError   = 0
	tagNone    = 1
	tagGroup   = 2
	tagCommits = 3

	maxText = 4096
)

// CommitResult answers for one batch of a CommitSegments.
type CommitResult struct {
	Group     redoubt.GroupID
	Committed redoubt.Position // what is committed now, also when Err is set and the group is known
	Err       error            // nil, or why nothing of the batch was taken
}

func (o outcome) encode() []byte {
	var e encoder
	switch v := o.value.(type) {
	case Group:
		if o.err == nil {
			e.u8(tagGroup)
			e.group(&v)
		}
	case []CommitResult:
		if o.err == nil {
			e.u8(tagCommits)
			e.uvar(uint64(len(v)))
			for _, r := range v {
				e.str(string(r.Group))
				e.pos(r.Committed)
				e.bool(r.Err != nil)
				if r.Err != nil {
					e.error(r.Err)
				}
			}
		}
	default:
		if o.err == nil {
			e.u8(tagNone)
		}
	}
	if o.err != nil {
		e.u8(tagError)
		e.error(o.err)
	}
	return e.b
}

func decodeOutcome(b []byte) (outcome, error) {
	d := &decoder{b: b}
	var o outcome
	switch d.u8() {
	case tagError:
		o.err = d.error()
	case tagNone:
	case tagGroup:
		if g := d.group(); d.err == nil {
			o.value = *g
		}
	case tagCommits:
		n := d.count(MaxBatch, "number of results")
		rs := make([]CommitResult, 0, n)
		for range n {
			r := CommitResult{Group: redoubt.GroupID(d.str(maxName, "group")), Committed: d.pos()}
			if d.bool() {
				r.Err = d.error()
			}
			rs = append(rs, r)
		}
		o.value = rs
	default:
		d.bad("unknown outcome")
	}
	if err := d.done(); err != nil {
		return outcome{}, fail("decode outcome", "", err, "")
	}
	return o, nil
}

// DecodeOutcome reads what StateMachine.Apply returned: the command's result
// (see its comment), or the error that it was refused with.
func DecodeOutcome(b []byte) (any, error) {
	o, err := decodeOutcome(b)
	if err != nil {
		return nil, err
	}
	return o.value, o.err
}

// sentinel maps the numbers of the format to the conditions of the root package.
func sentinel(code uint8) error {
	switch code {
	case 1:
		return redoubt.ErrInvalid
	case 2:
		return redoubt.ErrNotFound
	case 3:
		return redoubt.ErrExists
	case 4:
		return redoubt.ErrState
	case 5:
		return redoubt.ErrFenced
	case 6:
		return redoubt.ErrGap
	case 7:
		return redoubt.ErrUnavailable
	case 8:
		return redoubt.ErrVersion
	case 9:
		return redoubt.ErrCorrupt
	}
	return nil
}

const lastSentinel = 9

// told is an error that came over the wire: the text as it was, and the
// condition that errors.Is finds.
type told struct {
	text string
	is   error
}

func (t *told) Error() string { return t.text }
func (t *told) Unwrap() error { return t.is }

func (e *encoder) error(err error) {
	var re *redoubt.Error
	if !errors.As(err, &re) {
		re = &redoubt.Error{Op: "apply command", Err: err}
	}
	code := uint8(0)
	for c := uint8(1); c <= lastSentinel; c++ {
		if errors.Is(err, sentinel(c)) {
			code = c
			break
		}
	}
	text := ""
	if re.Err != nil {
		text = re.Err.Error()
	}
	e.u8(code)
	for _, s := range []string{re.Op, re.Object, re.Hint, text} {
		e.str(s[:min(len(s), maxText)])
	}
}

func (d *decoder) error() error {
	code := d.u8()
	if code > lastSentinel {
		d.bad("unknown error code")
	}
	re := &redoubt.Error{Op: d.str(maxText, "text"), Object: d.str(maxText, "text"), Hint: d.str(maxText, "text")}
	re.Err = &told{text: d.str(maxText, "text"), is: sentinel(code)}
	if re.Err.Error() == "" && sentinel(code) == nil {
		re.Err = fmt.Errorf("unknown cause")
	}
	return re
}
