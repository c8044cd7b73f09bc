package wire

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/redoubt-dr/redoubt"
)

// sentinels gives the errors that keep their meaning over the wire their
// numbers. Numbers are never used again.
func sentinels() []struct {
	code int
	err  error
} {
	return []struct {
		code int
		err  error
	}{
		{1, redoubt.ErrInvalid}, {2, redoubt.ErrNotFound}, {3, redoubt.ErrExists}, {4, redoubt.ErrState},
		{5, redoubt.ErrFenced}, {6, redoubt.ErrReadOnly}, {7, redoubt.ErrOutOfRange}, {8, redoubt.ErrJournalFull},
		{9, redoubt.ErrCorrupt}, {10, redoubt.ErrVersion}, {11, redoubt.ErrGap}, {12, redoubt.ErrFailed},
		{13, redoubt.ErrUnavailable}, {14, redoubt.ErrDenied}, {15, redoubt.ErrClosed},
		{32, context.Canceled}, {33, context.DeadlineExceeded},
	}
}

type errorBody struct {
	Text  string `json:"text"`
	Hint  string `json:"hint,omitempty"`
	Codes []int  `json:"codes,omitempty"`
}

const maxErrorText = 4 << 10

// EncodeError makes a frame's body of err: its text, its hint and which of the
// root sentinels (and context errors) it is.
func EncodeError(err error) []byte {
	e := errorBody{Text: clip(err.Error()), Hint: clip(redoubt.Hint(err))}
	for _, s := range sentinels() {
		if errors.Is(err, s.err) {
			e.Codes = append(e.Codes, s.code)
		}
	}
	b, jerr := json.Marshal(e)
	if jerr != nil {
		return []byte(`{"text":"error that cannot be encoded"}`)
	}
	return b
}

func clip(s string) string { return s[:min(len(s), maxErrorText)] }

// RemoteError is an error that happened at a peer. errors.Is finds the root
// sentinels that it was there.
type RemoteError struct {
	Text string
	is   []error
}

// Error returns the peer's text.
func (e *RemoteError) Error() string { return e.Text }

// Unwrap returns the sentinels.
func (e *RemoteError) Unwrap() []error { return e.is }

// DecodeError turns the body that EncodeError made back into an error, as a
// redoubt.Error with operation op and object; the hint is the peer's. It never
// returns nil.
func DecodeError(op, object string, body []byte) error {
	var e errorBody
	if err := json.Unmarshal(body, &e); err != nil || e.Text == "" {
		return &redoubt.Error{Op: op, Object: object, Err: &RemoteError{Text: "peer sent an unreadable error", is: []error{redoubt.ErrCorrupt}}}
	}
	r := &RemoteError{Text: e.Text}
	for _, s := range sentinels() {
		for _, c := range e.Codes {
			if c == s.code {
				r.is = append(r.is, s.err)
			}
		}
	}
	return &redoubt.Error{Op: op, Object: object, Hint: e.Hint, Err: r}
}
