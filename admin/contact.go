package admin

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"path"
	"strings"
	"syscall"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
)

// noContact explains a failure that no node reported: the operator needs to
// know whether the daemon is down, the path is wrong, or the certificate is.
func noContact(target, procedure string, ce *connect.Error) error {
	out := &redoubt.Error{Op: "ask " + target + " for", Object: path.Base(procedure)}
	is := redoubt.ErrUnavailable
	if c, ok := conditionOfCode(ce.Code()); ok {
		is = c.sentinel
	}
	var alert tls.AlertError
	var verify *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	unix := strings.HasPrefix(target, "unix:")
	switch {
	case errors.Is(ce, fs.ErrPermission):
		is = redoubt.ErrDenied
		out.Hint = "the admin socket belongs to the daemon's user: run as root or as that user"
	case errors.Is(ce, fs.ErrNotExist) && unix:
		out.Hint = "no such socket: is redoubtd running, and is this its run_dir? (--server, REDOUBT_SERVER)"
	case errors.Is(ce, syscall.ECONNREFUSED):
		out.Hint = "nothing listens there: is redoubtd running?"
	case errors.As(ce, &alert), errors.As(ce, &verify), errors.As(ce, &authority), errors.Is(ce, redoubt.ErrDenied):
		is = redoubt.ErrDenied
		out.Hint = "the two certificates do not accept each other: same CA? role operator or viewer here, source or target there? (--identity)"
	case is == redoubt.ErrUnavailable:
		out.Hint = "check address and network; --timeout sets how long to wait"
	}
	out.Err = &remote{msg: ce.Message(), is: is}
	return out
}
