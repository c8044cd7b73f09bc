package ship

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// ReceiverOptions say where received deltas go.
type ReceiverOptions struct {
	Sink        Sink
	Logger      *slog.Logger
	MaxDelta    int           // encoded bytes of a delta that is accepted; default and most MaxDeltaSize
	Heartbeat   time.Duration // how often a sender hears that we live; default 1 s
	PeerTimeout time.Duration // a sender silent for so long is cut off; default 5 s
}

// Receiver accepts senders and hands what they ship to its Sink, after it has
// checked who they are and that what they send is whole, in order and theirs.
//
// Forward, a peer of role source may speak for Hello.Source of its own name, and
// one of role target only if Welcome.Writer names it. Reverse, the peer must be
// of role target.
type Receiver struct {
	o   ReceiverOptions
	ctx context.Context
	end context.CancelFunc

	acceptor netmux.Acceptor

	mu       sync.Mutex
	sessions map[streamKey]*inbound
}

// streamKey tells apart the streams that may be open at once. A second one of
// the same key is the same sender come back: it ends the first. Another host of
// the same certificate, such as a copy of a virtual machine, has another uuid, and
// ends nothing: the sink refuses it.
type streamKey struct {
	group   redoubt.GroupID
	uuid    string
	reverse bool
	peer    pki.Identity
}

// NewReceiver returns a receiver that does nothing until Serve.
func NewReceiver(o ReceiverOptions) *Receiver {
	if o.MaxDelta <= 0 || o.MaxDelta > MaxDeltaSize {
		o.MaxDelta = MaxDeltaSize
	}
	if o.Heartbeat <= 0 {
		o.Heartbeat = defaultHeartbeat
	}
	if o.PeerTimeout <= 0 {
		o.PeerTimeout = defaultPeerTimeout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	ctx, end := context.WithCancel(context.Background())
	return &Receiver{o: o, ctx: ctx, end: end, sessions: map[streamKey]*inbound{}}
}

// Serve accepts until l or the receiver is closed, then returns nil. Connections
// must have Identity() pki.Identity, as netmux.Conn has.
func (r *Receiver) Serve(l net.Listener) error {
	return r.acceptor.Serve("accept senders", l, r.serve)
}

// Close closes listeners and connections and waits until every Stream is closed.
func (r *Receiver) Close() error {
	r.acceptor.Close()
	r.end()
	r.acceptor.Wait()
	return nil
}

func (r *Receiver) serve(c net.Conn, peer pki.Identity) {
	defer c.Close()
	in := &inbound{r: r, conn: c, peer: peer, ended: make(chan struct{}), ackable: make(chan struct{}, 1)}
	in.ctx, in.end = context.WithCancelCause(r.ctx)
	defer close(in.ended)
	defer in.end(nil)
	err := in.run()
	if err == nil || errors.Is(err, errPeerLeft) {
		r.o.Logger.Debug("sender left", "peer", peer.String(), "group", in.hello.Group)
		return
	}
	r.o.Logger.Warn("sender's stream ended", "peer", peer.String(), "addr", c.RemoteAddr().String(), "group", in.hello.Group, "err", err, "hint", redoubt.Hint(err))
	in.lastWord(err)
}

// supersede registers in and ends an earlier stream of the same sender, which
// is half-open or being given up: it waits until that one's Stream is closed.
func (r *Receiver) supersede(in *inbound, k streamKey) error {
	for {
		r.mu.Lock()
		old := r.sessions[k]
		if old == nil {
			r.sessions[k] = in
			r.mu.Unlock()
			return nil
		}
		r.mu.Unlock()
		old.end(errSuperseded)
		select {
		case <-old.released:
		case <-in.ctx.Done():
			return context.Cause(in.ctx)
		}
	}
}

func (r *Receiver) release(in *inbound, k streamKey) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sessions[k] == in {
		delete(r.sessions, k)
		close(in.released)
	}
}

var (
	errSuperseded = errors.New("the same sender has connected again")
	errPeerLeft   = errors.New("the sender closed the connection")
)
