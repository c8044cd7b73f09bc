package peers

import (
	"context"
	"errors"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

const methodPing = "target.ping" // -> condition

// Handler answers a call of another node.
type Handler func(ctx context.Context, body []byte) ([]byte, error)

// Handle registers what nodes of the secondary site may call, and nobody else.
func (p *Peers) Handle(method string, h Handler) { p.o.RPC.Handle(method, p.targetsOnly(method, h)) }

// HandleBorrowed is Handle for a handler that keeps nothing of body when it has
// returned: the memory is used again.
func (p *Peers) HandleBorrowed(method string, h Handler) {
	p.o.RPC.HandleBorrowed(method, p.targetsOnly(method, h))
}

// Lender is a Handler whose answer lies in recycled memory, which is given back
// when the answer is sent.
type Lender func(ctx context.Context, body []byte) (slab.Part, error)

// HandleLent is Handle for a handler that lends its answer.
func (p *Peers) HandleLent(method string, h Lender) {
	p.o.RPC.HandleLent(method, func(ctx context.Context, peer pki.Identity, body []byte) (slab.Part, error) {
		if err := p.allowed(method, peer); err != nil {
			return slab.Part{}, err
		}
		return h(ctx, body)
	})
}

// Answer registers the method that says that this node is up, and whether its log
// takes shards.
func (p *Peers) Answer() {
	p.Handle(methodPing, func(context.Context, []byte) ([]byte, error) { return Encode(p.condition()), nil })
}

func (p *Peers) targetsOnly(method string, h Handler) rpc.Handler {
	return func(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error) {
		if err := p.allowed(method, peer); err != nil {
			return nil, err
		}
		return h(ctx, body)
	}
}

// allowed refuses calls of others than nodes, and all of them while the store
// is closed, so that a node that shares its port with other services does not seem
// alive.
func (p *Peers) allowed(method string, peer pki.Identity) error {
	if peer.Role != pki.RoleTarget {
		return &redoubt.Error{Op: "call " + method, Object: peer.String(), Err: redoubt.ErrDenied, Hint: "only nodes of the secondary site may call it"}
	}
	if p.ctx.Err() != nil {
		return &redoubt.Error{Op: "call store", Object: string(p.o.Self), Err: errors.Join(redoubt.ErrClosed, redoubt.ErrUnavailable)}
	}
	return nil
}
