package admin

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"time"

	"connectrpc.com/connect"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin/v1/adminv1connect"
)

// maxMessage bounds a request and an answer, in bytes. The longest honest
// message is a loss receipt of 100,000 writes, about 5 MB.
const maxMessage = 16 << 20

// AuthoriseFunc decides whether p may call procedure ("/SERVICE/METHOD");
// readOnly is what the schema says about it.
type AuthoriseFunc func(p Peer, procedure string, readOnly bool) error

// NewHandler returns svc as an HTTP handler. Each call is checked by authorise
// (nil: Authorise) against the Peer of its context, logged if it changes
// something, and its error mapped by ToConnect. A panic of svc becomes a
// refusal with the reason "internal"; the daemon lives on.
func NewHandler(svc adminv1connect.AdminServiceHandler, authorise AuthoriseFunc, logger *slog.Logger) http.Handler {
	if authorise == nil {
		authorise = Authorise
	}
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewAdminServiceHandler(svc,
		connect.WithInterceptors(guard(authorise, logger)),
		connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			if spec.StreamType != connect.StreamTypeServer {
				return nil
			}
			return []connect.HandlerOption{connect.WithCompressMinBytes(math.MaxInt)} // gzip is ten times slower than disks
		}),
		connect.WithReadMaxBytes(maxMessage)))
	return refuseEarly(mux, authorise, logger)
}

// guarded checks every call, and maps its outcome.
type guarded struct {
	authorise AuthoriseFunc
	logger    *slog.Logger
}

func guard(authorise AuthoriseFunc, logger *slog.Logger) connect.Interceptor {
	return &guarded{authorise, logger}
}

// WrapUnary guards a call with one request and one answer.
func (g *guarded) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (resp connect.AnyResponse, err error) {
		err = g.call(ctx, req.Spec(), req.Peer(), func() (err error) {
			resp, err = next(withVia(ctx, req.Header()), req)
			return err
		})
		if err != nil {
			return nil, err
		}
		return resp, nil
	}
}

// WrapStreamingHandler guards a call that is answered by a stream.
func (g *guarded) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		return g.call(ctx, conn.Spec(), conn.Peer(), func() error { return next(withVia(ctx, conn.RequestHeader()), conn) })
	}
}

// WrapStreamingClient does nothing: handlers are guarded, not clients.
func (g *guarded) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

func (g *guarded) call(ctx context.Context, spec connect.Spec, from connect.Peer, next func() error) (err error) {
	proc := spec.Procedure
	readOnly := spec.IdempotencyLevel == connect.IdempotencyNoSideEffects
	start := time.Now()
	peer, known := PeerFrom(ctx)
	defer func() {
		if v := recover(); v != nil {
			g.logger.Error("admin handler panicked", "procedure", proc, "panic", v, "stack", string(debug.Stack()))
			err = fmt.Errorf("the handler failed: %v", v)
		}
		logCall(ctx, g.logger, proc, peer, readOnly, time.Since(start), err)
		err = ToConnect(proc, err)
	}()
	if !known {
		return &redoubt.Error{Op: "authorise", Object: from.Addr, Err: fmt.Errorf("unknown caller: %w", redoubt.ErrDenied)}
	}
	if err := g.authorise(peer, proc, readOnly); err != nil {
		return err
	}
	return next()
}

// logCall leaves a trace of everything that changes or was refused; what only
// reads is said at debug level, because a watcher asks every second.
func logCall(ctx context.Context, logger *slog.Logger, proc string, peer Peer, readOnly bool, took time.Duration, err error) {
	level := slog.LevelInfo
	if readOnly {
		level = slog.LevelDebug
	}
	attrs := []any{"procedure", proc, "peer", peer.String(), "took", took}
	if err != nil {
		if errors.Is(err, redoubt.ErrDenied) {
			level = slog.LevelWarn
		}
		attrs = append(attrs, "reason", ReasonOf(err), "error", err)
	}
	logger.Log(ctx, level, "admin call", attrs...)
}
