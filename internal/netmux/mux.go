package netmux

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/complaint"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Limits bound what strangers can cost.
type Limits struct {
	Handshake time.Duration // from accept to a finished handshake; default 10 s
	Strangers int           // handshakes at once: one more ends the oldest; default 1024
	Conns     int           // connections open at once after their handshake, all protocols; default 4096
	PerPeer   int           // of Conns, those of one identity; default a quarter
}

// Mux owns a node's port. Its methods may be called concurrently.
type Mux struct {
	l       net.Listener
	cred    *pki.Credentials
	log     *slog.Logger
	limits  Limits
	closing chan struct{}
	once    sync.Once
	wg      sync.WaitGroup

	mu     sync.Mutex
	protos map[string]*listener
	places

	complaints struct{ strangers, peers complaint.Account }
}

// Listen opens the port at addr and begins to accept.
func Listen(addr string, cred *pki.Credentials, log *slog.Logger) (*Mux, error) {
	return ListenLimits(addr, cred, log, Limits{})
}

// ListenLimits is Listen with limits other than the default.
func ListenLimits(addr string, cred *pki.Credentials, log *slog.Logger, lim Limits) (*Mux, error) {
	l, err := ListenTCP(addr)
	if err != nil {
		return nil, err
	}
	return Serve(l, cred, log, lim), nil
}

// ListenTCP opens a port.
func ListenTCP(addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, &redoubt.Error{Op: "listen on", Object: addr, Err: err, Hint: "is another program using the port?"}
	}
	return l, nil
}

// Serve begins to accept on l, which the Mux owns from now on.
func Serve(l net.Listener, cred *pki.Credentials, log *slog.Logger, lim Limits) *Mux {
	if lim.Handshake <= 0 {
		lim.Handshake = 10 * time.Second
	}
	if lim.Conns <= 0 {
		lim.Conns = 4096
	}
	if lim.Strangers <= 0 {
		lim.Strangers = 1024
	}
	if lim.PerPeer <= 0 {
		lim.PerPeer = max(1, lim.Conns/4)
	}
	m := &Mux{l: l, cred: cred, log: log, limits: lim, closing: make(chan struct{}),
		protos: map[string]*listener{}, places: places{open: map[*trackedConn]struct{}{}, of: map[pki.Identity]int{}}}
	m.wg.Add(1)
	go m.accept()
	return m
}

// Addr returns the port's address.
func (m *Mux) Addr() net.Addr { return m.l.Addr() }

// Listener returns the listener of one protocol. Peers whose role is not among
// roles are refused with a reason (no roles: any role; the server then checks
// Conn.Identity itself). Until a protocol has a listener it is not offered. A
// second call for the same protocol replaces the first, whose listener closes.
// Connections are *Conn, those of ProtoAdmin *tls.Conn.
func (m *Mux) Listener(proto string, roles ...pki.Role) net.Listener {
	l := newListener(m.l.Addr(), roles)
	m.mu.Lock()
	defer m.mu.Unlock()
	if old := m.protos[proto]; old != nil {
		old.Close()
	}
	m.protos[proto] = l
	select {
	case <-m.closing:
		l.Close()
	default:
	}
	return l
}

// Close closes the port, all its listeners and all connections that it has
// accepted, and waits for its goroutines.
func (m *Mux) Close() error {
	var err error
	m.once.Do(func() {
		close(m.closing)
		err = m.l.Close()
		m.mu.Lock()
		for _, l := range m.protos {
			l.Close()
		}
		for t := range m.open {
			t.Conn.Close()
		}
		m.mu.Unlock()
	})
	m.wg.Wait()
	return err
}

func (m *Mux) accept() {
	defer m.wg.Done()
	for {
		c, err := m.l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// Out of descriptors, most likely: wait for some to be given back.
			m.log.Error("accept failed", "addr", m.l.Addr().String(), "err", err)
			select {
			case <-time.After(100 * time.Millisecond):
			case <-m.closing:
				return
			}
			continue
		}
		if t, ok := m.track(c); ok {
			m.wg.Add(1)
			go m.handshake(t)
		}
	}
}

// handshake takes a connection up to the point where its server has it.
func (m *Mux) handshake(t *trackedConn) {
	defer m.wg.Done()
	peerAddr := t.RemoteAddr().String()
	account := &m.complaints.strangers
	complain := func(msg string, err error) {
		account.Warn(m.log, time.Now(), msg, "peer", peerAddr, "err", err, "hint", redoubt.Hint(err))
	}
	refuse := func(msg string, err error) {
		complain(msg, err)
		t.Close()
	}
	tune(t.TCP())
	_ = t.SetDeadline(time.Now().Add(m.limits.Handshake))
	pc, err := sniff(t)
	if errors.Is(err, errPlainText) {
		tellPlainText(pc)
		refuse("plain-text client refused", &redoubt.Error{Op: "accept", Object: peerAddr, Err: err, Hint: "this port speaks TLS 1.3 with client certificates only"})
		return
	}
	if err != nil {
		t.Close() // a port scanner or a health check: connected and left
		m.log.Debug("connection ended before the handshake", "peer", peerAddr, "err", err)
		return
	}
	cfg := m.cred.ServerTLS(m.offered()...)
	below := newBatch(pc, t.TCP())
	tc := tls.Server(below, cfg)
	if err := tc.Handshake(); err != nil {
		refuse("tls handshake failed", pki.Explain(err))
		return
	}
	account = &m.complaints.peers
	state := tc.ConnectionState()
	peer, err := pki.PeerIdentity(state)
	if err != nil {
		refuse("peer has no identity", err)
		return
	}
	proto := state.NegotiatedProtocol
	l := m.listener(proto)
	if l == nil {
		refuse("unknown protocol", fmt.Errorf("protocol %q: %w", proto, redoubt.ErrNotFound))
		return
	}
	admin := isAdmin(proto)
	if err = l.allows(peer, proto); err == nil {
		err = m.admit(t, peer)
	}
	if err != nil {
		complain("peer refused", err)
		if !admin {
			_ = sendGreeting(tc, err)
			_ = tc.CloseWrite()
		}
		t.Close()
		return
	}
	var out net.Conn = tc
	if !admin {
		if err := sendGreeting(tc, nil); err != nil {
			refuse("greeting failed", err)
			return
		}
		out = &Conn{Conn: tc, peer: peer, proto: proto, below: below}
	}
	_ = tc.SetDeadline(time.Time{})
	if !l.deliver(out, m.closing) {
		t.Close()
	}
}

func isAdmin(proto string) bool { return proto == "" || proto == alpnH2 || proto == alpnHTTP1 }

func (m *Mux) listener(proto string) *listener {
	if isAdmin(proto) {
		proto = ProtoAdmin
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.protos[proto]
}

// offered lists the ALPN names that have a listener.
func (m *Mux) offered() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []string
	for p := range m.protos {
		if p == ProtoAdmin {
			out = append(out, alpnH2, alpnHTTP1)
		} else {
			out = append(out, p)
		}
	}
	if len(out) == 0 {
		out = []string{"redoubt-none"} // an empty list would mean: any protocol
	}
	return out
}
