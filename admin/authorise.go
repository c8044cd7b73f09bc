package admin

import (
	"context"
	"fmt"
	"strconv"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Peer is who calls.
type Peer struct {
	Role pki.Role // of the certificate; empty if Local
	Name string   // of the certificate; empty if Local

	Local bool // over the unix socket
	UID   int  // of the calling process, if Local
	PID   int  // of the calling process, if Local
}

// String returns "ROLE/NAME" or "uid N".
func (p Peer) String() string {
	if p.Local {
		return "uid " + strconv.Itoa(p.UID)
	}
	return string(p.Role) + "/" + p.Name
}

// Authorise says who may call what: the local socket (its mode 0600 is the
// check) and target (nodes forward to each other) everything; operator all but
// confirming the clock, which is what holds end by; keeper that, holds and what
// changes nothing; viewer what changes nothing. So no credential that can
// delete points can bring a hold nearer to its end. A source may call nothing: whoever has broken
// into a protected host must not reach its recovery points. It returns an
// error that wraps redoubt.ErrDenied.
func Authorise(p Peer, procedure string, readOnly bool) error {
	confirm := procedure == adminv1connect.AdminServiceConfirmClockProcedure
	switch {
	case p.Local, p.Role == pki.RoleTarget, p.Role == pki.RoleOperator && !confirm:
		return nil
	case p.Role == pki.RoleOperator:
		return &redoubt.Error{Op: "authorise", Object: p.String(), Err: fmt.Errorf("whoever can delete points may not move the clock that holds end by: %w", redoubt.ErrDenied),
			Hint: "use a certificate of the role keeper (redoubt ca issue --role keeper --name NAME), or the local socket"}
	case p.Role == pki.RoleKeeper && (readOnly || confirm || procedure == adminv1connect.AdminServiceHoldPointProcedure):
		return nil
	case p.Role == pki.RoleKeeper:
		return &redoubt.Error{Op: "authorise", Object: p.String(), Err: fmt.Errorf("the role keeper holds points and confirms clocks only: %w", redoubt.ErrDenied),
			Hint: "use a certificate of the role operator (redoubt ca issue --role operator --name NAME)"}
	case p.Role == pki.RoleViewer && readOnly:
		return nil
	case p.Role == pki.RoleViewer:
		return &redoubt.Error{Op: "authorise", Object: p.String(), Err: fmt.Errorf("the role viewer changes nothing: %w", redoubt.ErrDenied),
			Hint: "use a certificate of the role operator (redoubt ca issue --role operator --name NAME)"}
	}
	return &redoubt.Error{Op: "authorise", Object: p.String(), Err: fmt.Errorf("the role %q may not use the admin service: %w", p.Role, redoubt.ErrDenied),
		Hint: "use a certificate of the role operator or viewer (redoubt ca issue --role operator --name NAME), or the local socket"}
}

type peerKey struct{}

// WithPeer returns a context that carries p, for a listener whose connections
// do not pass Server.
func WithPeer(ctx context.Context, p Peer) context.Context {
	return context.WithValue(ctx, peerKey{}, p)
}

// PeerFrom returns who calls, for a handler that logs or forwards it.
func PeerFrom(ctx context.Context) (Peer, bool) {
	p, ok := ctx.Value(peerKey{}).(Peer)
	return p, ok
}
