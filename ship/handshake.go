package ship

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Probe says Hello without opening a stream and returns the answer. It leaves
// conn to the caller, who closes it.
func Probe(ctx context.Context, conn net.Conn, h Hello) (Welcome, error) {
	h.Probe = true
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return exchange(conn, h)
}

// exchange sends Hello and reads Welcome.
func exchange(conn net.Conn, h Hello) (Welcome, error) {
	addr := conn.RemoteAddr().String()
	body, err := encodeJSON(h)
	if err != nil {
		return Welcome{}, &redoubt.Error{Op: "say hello to", Object: addr, Err: err}
	}
	_ = conn.SetDeadline(time.Now().Add(helloTimeout))
	fail := func(err error) (Welcome, error) {
		return Welcome{}, &redoubt.Error{Op: "say hello to", Object: addr, Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err)}
	}
	if err := wire.WritePreface(conn, tag()); err != nil {
		return fail(err)
	}
	if err := wire.WriteFrame(conn, frameHello, body); err != nil {
		return fail(err)
	}
	if err := wire.ReadPreface(conn, tag()); err != nil {
		return fail(err)
	}
	r := wire.Reader{R: conn, Max: maxHello}
	typ, b, err := r.Next()
	if err != nil {
		return fail(err)
	}
	switch typ {
	case frameWelcome:
		w, err := decodeJSON[Welcome](b)
		_ = conn.SetDeadline(time.Time{})
		return w, err
	case frameError:
		return Welcome{}, wire.DecodeError("say hello to", addr, b)
	}
	return fail(badFrame(fmt.Sprintf("type %d instead of a welcome", typ)))
}
