package cluster

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is three nodes on 127.0.0.1 that talk over TLS, as in production, all in this process.
type site struct {
	t     testing.TB
	ca    string
	peers []Peer
	nodes []*host
	mu    sync.Mutex // for nodes: newcomers are added while others dial
	times Timeouts
}

// host is one node with its port.
type host struct {
	site *site
	id   redoubt.NodeID
	dir  string
	addr string

	founders []Peer // nil for a node that joins
	join     []string

	cred  *pki.Credentials
	mux   *netmux.Mux
	rpc   *rpc.Server
	pool  *rpc.Pool
	node  *Node // nil while down
	fatal chan error
	log   lockedBuffer

	mu  sync.Mutex
	cut bool // no connection from here, and none to here
	out []net.Conn
}

func quick() Timeouts {
	return Timeouts{Heartbeat: 300 * time.Millisecond, Owner: time.Second, Ping: 50 * time.Millisecond,
		Attempt: time.Second, Checkpoint: 200 * time.Millisecond, SnapshotEvery: 64}
}

func newSite(t testing.TB, n int) *site { return newSiteAt(t, n, quick()) }

func newSiteAt(t testing.TB, n int, times Timeouts) *site {
	t.Helper()
	s := &site{t: t, ca: t.TempDir(), times: times}
	noErr(t, pki.InitCA(s.ca, "test", time.Hour))
	for i := range n {
		h := s.host(nodeName(i))
		h.listen("127.0.0.1:0")
		s.peers = append(s.peers, Peer{ID: h.id, Addr: h.addr})
		s.nodes = append(s.nodes, h)
	}
	t.Cleanup(func() {
		for _, h := range s.nodes {
			h.stop()
			if t.Failed() {
				t.Logf("log of %s:\n%s", h, h.log.String())
			}
		}
	})
	for _, h := range s.nodes {
		h.founders = s.peers
		h.open()
	}
	for _, h := range s.nodes {
		s.eventually(func() bool { return len(h.node.Catalog().Nodes()) == n }, "registration")
	}
	return s
}

func (s *site) host(id redoubt.NodeID) *host {
	s.t.Helper()
	h := &host{site: s, id: id, dir: filepath.Join(s.t.TempDir(), string(id)), fatal: make(chan error, 1)}
	certs := s.t.TempDir()
	noErr(s.t, pki.Issue(s.ca, certs, pki.Identity{Role: pki.RoleTarget, Name: string(id)}, []string{"127.0.0.1"}, time.Hour))
	var err error
	h.cred, err = pki.Load(certs)
	noErr(s.t, err)
	return h
}

func (h *host) listen(addr string) {
	h.site.t.Helper()
	var err error
	h.mux, err = netmux.Listen(addr, h.cred, slog.New(slog.DiscardHandler))
	noErr(h.site.t, err)
	h.addr = h.mux.Addr().String()
}

// dial is the network: it knows who is cut off, also when that happens meanwhile.
func (h *host) dial(ctx context.Context, addr, proto string) (net.Conn, error) {
	if h.cutFrom(addr) {
		return nil, &redoubt.Error{Op: "dial", Object: addr, Err: redoubt.ErrUnavailable}
	}
	c, err := netmux.Dial(ctx, addr, proto, h.cred, pki.RoleTarget)
	if err != nil {
		return nil, err
	}
	h.mu.Lock()
	h.out = append(h.out, c)
	h.mu.Unlock()
	if h.cutFrom(addr) {
		_ = c.Close()
	}
	return c, nil
}

func (h *host) cutFrom(addr string) bool {
	h.site.mu.Lock()
	nodes := h.site.nodes
	h.site.mu.Unlock()
	for _, other := range nodes {
		if other.isCut() && (other == h || other.addr == addr) {
			return true
		}
	}
	return false
}

func (h *host) isCut() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.cut
}

// isolate cuts the node off, or joins it again.
func (h *host) isolate(cut bool) {
	h.mu.Lock()
	h.cut = cut
	h.mu.Unlock()
	for _, other := range h.site.nodes {
		other.mu.Lock()
		for _, c := range other.out {
			if cut && (other == h || c.RemoteAddr().String() == h.addr) {
				_ = c.Close()
			}
		}
		other.mu.Unlock()
	}
}

func (h *host) open() {
	h.site.t.Helper()
	node, err := h.tryOpen()
	noErr(h.site.t, err)
	h.node = node
}

func (h *host) tryOpen() (*Node, error) {
	log := slog.New(slog.DiscardHandler)
	h.rpc, h.pool = rpc.NewServer(log), rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) {
		return h.dial(ctx, addr, netmux.ProtoPeer)
	})
	go func(s *rpc.Server, l net.Listener) { _ = s.Serve(l) }(h.rpc, h.mux.Listener(netmux.ProtoPeer))
	return Open(Options{ID: h.id, Advertise: h.addr, Dir: h.dir, Bootstrap: h.founders, Join: h.join, Dial: h.dial,
		RaftListener: h.mux.Listener(netmux.ProtoRaft), RPC: h.rpc, Pool: h.pool, Timeouts: h.site.times,
		Logger:  slog.New(slog.NewTextHandler(&h.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		OnFatal: func(err error) { h.fatal <- err }})
}

// stop closes everything as a clean end of the program does.
func (h *host) stop() {
	if h.node != nil {
		noErr(h.site.t, h.node.Close())
		h.node = nil
	}
	h.closePort()
}

// kill takes the port away first, so that nothing is said to anybody.
func (h *host) kill() {
	_ = h.mux.Close()
	h.cancelQuietly()
	h.closePort()
}

func (h *host) cancelQuietly() {
	n := h.node
	h.node = nil
	n.closeOnce.Do(func() { n.closeErr = n.stop() })
}

func (h *host) closePort() {
	if h.rpc != nil {
		_ = h.rpc.Close()
		_ = h.pool.Close()
	}
	_ = h.mux.Close()
}

// start brings a stopped or killed node back on its old address.
func (h *host) start() {
	h.site.t.Helper()
	h.listen(h.addr)
	h.open()
}

func (s *site) leader() *host {
	s.t.Helper()
	var l *host
	s.eventually(func() bool {
		for _, h := range s.nodes {
			if h.node != nil && !h.isCut() && h.node.IsLeader() {
				l = h
				return true
			}
		}
		return false
	}, "a leader")
	return l
}

func (s *site) follower() *host {
	l := s.leader()
	for _, h := range s.nodes {
		if h != l && h.node != nil {
			return h
		}
	}
	s.t.Fatal("no follower")
	return nil
}

// eventually polls: Raft tells nobody when, for instance, a follower has caught up.
func (s *site) eventually(ok func() bool, what string) {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 20 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *site) propose(h *host, c catalog.Command) any {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	v, err := h.node.Propose(ctx, c)
	noErr(s.t, err)
	return v
}

// commitNext commits one more segment of n writes through h. Like an owner it
// looks again when the ownership changed under it.
func (s *site) commitNext(h *host, id redoubt.GroupID, n redoubt.LSN) {
	s.t.Helper()
	for {
		g, _ := h.node.Catalog().Group(id)
		r := s.propose(h, batch(g, seg(g, h.node.Catalog().SegmentCount(id, g.Epoch), g.Committed.LSN+1, g.Committed.LSN+n))).([]catalog.CommitResult)[0]
		if now, _ := h.node.Catalog().Group(id); errors.Is(r.Err, redoubt.ErrFenced) && now.OwnerTerm > g.OwnerTerm {
			continue
		}
		noErr(s.t, r.Err)
		if r.Committed.LSN != g.Committed.LSN+n {
			s.t.Fatalf("committed %v after %v + %d", r.Committed, g.Committed, n)
		}
		return
	}
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, redoubt.Hint(err))
	}
}

// image is the node's catalog as bytes: the records of a snapshot (see
// docs/formats/cluster.md) without the header, which counts entries that change
// nothing, the dedupe table, and the running checksums.
func (h *host) image() string {
	var b bytes.Buffer
	noErr(h.site.t, h.node.machine.Snapshot().Write(&b))
	var out strings.Builder
	for rest := b.Bytes()[12:]; len(rest) > 0; {
		typ, size := rest[0], 5+int(binary.BigEndian.Uint32(rest[1:]))
		if typ != 1 && typ != 6 && typ != 7 {
			out.Write(rest[:size])
		}
		rest = rest[size+4:]
	}
	return out.String()
}

// sameEverywhere fails if the catalogs differ. They are looked at one after the
// other; the leader's duties may change something in between, then again.
func (s *site) sameEverywhere() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	s.eventually(func() bool {
		images := map[string]bool{}
		for _, h := range s.nodes {
			if h.node != nil {
				noErr(s.t, h.node.Barrier(ctx))
				images[h.image()] = true
			}
		}
		return len(images) <= 1
	}, "the same catalog at every node")
}

func (h *host) String() string { return fmt.Sprintf("%s at %s", h.id, h.addr) }
