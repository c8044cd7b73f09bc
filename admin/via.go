package admin

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
)

// viaHeader names the nodes that have forwarded a call, the first one first.
const viaHeader = "Redoubt-Via"

// maxVia is the most nodes that forward one call: to the node that exports the
// group, and from there to its source. The rest is room.
const maxVia = 8

type viaKey struct{}

// ForwardedBy returns the nodes that have forwarded the call of ctx.
func ForwardedBy(ctx context.Context) []string {
	v, _ := ctx.Value(viaKey{}).([]string)
	return v
}

// Forward returns a client of the node at target for what node was asked for in
// ctx and another one must answer. It refuses with redoubt.ErrState what node has
// forwarded before: an address that leads to another node than it did would let
// the call go round without end. Otherwise it is Dial.
func Forward(ctx context.Context, node, target string, dial func(string) (*Client, error)) (*Client, error) {
	via := ForwardedBy(ctx)
	if slices.Contains(via, node) || len(via) >= maxVia {
		return nil, &redoubt.Error{Op: "forward call to", Object: target,
			Err:  fmt.Errorf("it came by way of %s already: %w", strings.Join(via, ", "), redoubt.ErrState),
			Hint: "an address leads to another node than the catalog says: compare `redoubt node list`, the advertise of nodes and sources, and what the names resolve to"}
	}
	c, err := dial(target)
	if err == nil {
		c.via = strings.Join(append(slices.Clone(via), node), ",")
	}
	return c, err
}

// withVia returns ctx with what the header says.
func withVia(ctx context.Context, h http.Header) context.Context {
	if v := h.Get(viaHeader); v != "" {
		return context.WithValue(ctx, viaKey{}, strings.SplitN(v, ",", maxVia))
	}
	return ctx
}

// outgoing names the forwarding nodes in each call of a client, and translates
// the errors of those without a stream.
type outgoing struct{ c *Client }

// WrapUnary is for calls with one request and one answer.
func (o outgoing) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if o.c.via != "" {
			req.Header().Set(viaHeader, o.c.via)
		}
		resp, err := next(ctx, req)
		if err != nil {
			return nil, FromConnect(o.c.target, req.Spec().Procedure, err)
		}
		return resp, nil
	}
}

// WrapStreamingClient is for calls that are answered by a stream.
func (o outgoing) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		if o.c.via != "" {
			conn.RequestHeader().Set(viaHeader, o.c.via)
		}
		return conn
	}
}

// WrapStreamingHandler does nothing: this is for clients.
func (o outgoing) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
