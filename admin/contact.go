package admin

import (
	"errors"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// noContact explains a failure that no node reported: the operator needs to
// know whether the daemon is down, the path is wrong, or the certificate is.
func noContact(target, procedure string, ce *connect.Error) error {
	out := &redoubt.Error{Op: "ask " + target + " for", Object: path.Base(procedure)}
	is := redoubt.ErrUnavailable
	if c, ok := conditionOfCode(ce.Code()); ok {
		is = c.sentinel
	}
	var said *redoubt.Error
	unix := strings.HasPrefix(target, "unix:")
	switch {
	case errors.Is(ce, fs.ErrPermission):
		is = redoubt.ErrDenied
		out.Hint = "the admin socket belongs to the daemon's user: run as root or as that user"
	case errors.Is(ce, fs.ErrNotExist) && unix:
		out.Hint = "no such socket: is redoubtd running, and is this its run_dir? (--server, REDOUBT_SERVER)"
	case errors.Is(ce, syscall.ECONNREFUSED):
		out.Hint = "nothing listens there: is redoubtd running?"
	case errors.As(pki.Explain(ce), &said):
		return &redoubt.Error{Op: out.Op, Object: out.Object, Err: said.Err, Hint: said.Hint}
	case errors.Is(ce, http.ErrSchemeMismatch):
		out.Hint = "a plain-text web server answers there, not redoubtd: check address and port"
	case ce.Code() == connect.CodeDeadlineExceeded:
		out.Hint = "the call may still be under way there: look at the status; --timeout sets how long to wait"
	case is == redoubt.ErrUnavailable:
		out.Hint = "check address and network; --timeout sets how long to wait"
	}
	out.Err = &remote{msg: ce.Message(), is: is}
	return out
}
