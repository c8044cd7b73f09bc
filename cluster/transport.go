package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// streams lets Raft talk over the node's one TLS port.
type streams struct {
	net.Listener
	dial func(ctx context.Context, addr, proto string) (net.Conn, error)
	log  *slog.Logger
}

var _ raft.StreamLayer = (*streams)(nil)

// Accept returns the next connection of a target; others are closed.
func (s *streams) Accept() (net.Conn, error) {
	for {
		c, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if who, ok := c.(interface{ Identity() pki.Identity }); ok && who.Identity().Role == pki.RoleTarget {
			return c, nil
		}
		s.log.Warn("refused a raft connection: the peer is no target", "peer", c.RemoteAddr().String())
		_ = c.Close()
	}
}

// Dial connects to another node's port.
func (s *streams) Dial(addr raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	return s.dial(ctx, string(addr), netmux.ProtoRaft)
}

// transport is raft.NetworkTransport without the heartbeat fast path: there
// the library changes term and vote beside its main loop, which can elect two
// leaders (hashicorp/raft issue 695). Without it heartbeats queue behind
// appends, so timeouts must exceed the worst fsync.
type transport struct {
	*raft.NetworkTransport
	advertise raft.ServerAddress
}

var (
	_ raft.WithPreVote = transport{}
	_ raft.WithClose   = transport{}
)

// SetHeartbeatHandler ignores the fast path that Raft offers.
func (transport) SetHeartbeatHandler(func(raft.RPC)) {}

// LocalAddr is where the others reach this node, which the listener's own
// address (0.0.0.0, say) need not be.
func (t transport) LocalAddr() raft.ServerAddress { return t.advertise }

func newTransport(o *Options) transport {
	return transport{advertise: raft.ServerAddress(o.Advertise),
		NetworkTransport: raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
			Stream:  &streams{Listener: o.RaftListener, dial: o.Dial, log: o.Logger},
			Logger:  newRaftLogger(o.Logger),
			MaxPool: 3,
			// No pipelining: when its decoder ends (an answer of a newer term or
			// a refusal) while a request is being handed over, the library's
			// sender waits for ever. The peer gets nothing more, and Shutdown hangs.
			MaxRPCsInFlight: 1,
			Timeout:         max(10*time.Second, 2*o.Timeouts.Heartbeat),
		})}
}
