package admin

import (
	"errors"
	"path"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// ToConnect turns an error of a room into the refusal that the caller of
// procedure gets: a connect code, the error's text, and an ErrorDetail with
// reason and hint. It returns nil for nil.
func ToConnect(procedure string, err error) error {
	if err == nil {
		return nil
	}
	var ce *connect.Error
	if errors.As(err, &ce) && detailOf(ce) != nil {
		return ce // made here already
	}
	d := &adminv1.ErrorDetail{Op: path.Base(procedure), Hint: redoubt.Hint(err), Message: err.Error()}
	c := conditionOf(err)
	if ce != nil && c.sentinel == nil { // connect's own: a request that it could not read
		c.code, d.Message = ce.Code(), ce.Message()
		if m, ok := conditionOfCode(c.code); ok {
			c = m
		}
	}
	d.Reason = string(c.reason)
	if e, ok := err.(*redoubt.Error); ok && e.Err != nil { //nolint:errorlint // only the outermost names op and object
		d.Op, d.Object, d.Message = e.Op, e.Object, e.Err.Error()
	}
	out := connect.NewError(c.code, errors.New(err.Error()))
	if det, derr := connect.NewErrorDetail(d); derr == nil {
		out.AddDetail(det)
	}
	return out
}

// FromConnect turns a refusal back into the error that the node had: a
// *redoubt.Error that wraps the same sentinel and carries the same hint. An
// error that did not come from a node (no contact, time-out) names target.
func FromConnect(target, procedure string, err error) error {
	if err == nil {
		return nil
	}
	var ce *connect.Error
	if !errors.As(err, &ce) {
		return err
	}
	if d := detailOf(ce); d != nil {
		out := &redoubt.Error{Op: d.GetOp(), Object: d.GetObject(), Hint: d.GetHint(), Err: &remote{msg: d.GetMessage()}}
		if c, ok := conditionNamed(Reason(d.GetReason())); ok {
			out.Err = &remote{msg: d.GetMessage(), is: c.sentinel}
		}
		return out
	}
	return noContact(target, procedure, ce)
}

// remote is a node's cause: its text, and the sentinel that it stood for.
type remote struct {
	msg string
	is  error
}

func (r *remote) Error() string { return r.msg }
func (r *remote) Unwrap() error { return r.is }

func detailOf(ce *connect.Error) *adminv1.ErrorDetail {
	for _, d := range ce.Details() {
		v, err := d.Value()
		if err != nil {
			continue
		}
		if m, ok := v.(*adminv1.ErrorDetail); ok {
			return m
		}
	}
	return nil
}
