package target

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// site is a secondary site of nodes on 127.0.0.1 that talk over TLS, as in
// production, all in this process.
type site struct {
	t       *testing.T
	now     func() time.Time // nil: the real clock, and history is thinned as in production
	logFile int64
	cache   int64
	silent  time.Duration // after which an owner is replaced
	level   uint64        // least difference in bytes that is levelled; 0: the default
	ca      string
	peers   []cluster.Peer
	nodes   []*host
	set     func(*Options) // changes the options of every store that is opened, if set

	mu    sync.Mutex
	addrs []string // of all nodes that ever were, for senders, which ask at any time
}

// host is one node.
type host struct {
	site *site
	id   redoubt.NodeID
	dir  string
	addr string

	founders *[]cluster.Peer // empty for a node that joined later
	join     []string
	domain   string

	cred  *pki.Credentials
	mux   *netmux.Mux
	rpc   *rpc.Server
	pool  *rpc.Pool
	node  *cluster.Node
	store *Store // nil while down
	recv  *ship.Receiver
}

func logger(t *testing.T) *slog.Logger {
	if os.Getenv("REDOUBT_LOG") == "" {
		return slog.New(slog.DiscardHandler)
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

func newSite(t *testing.T, n int) *site { return newSiteWith(t, n, nil) }

func newSiteWith(t *testing.T, n int, set func(*Options)) *site {
	t.Helper()
	return openSite(&site{t: t, set: set, logFile: 4 << 20, silent: time.Second, cache: 4 << 20}, n)
}

// newSiteAt is newSite with a clock; history is thinned only by calls of Retain.
func newSiteAt(t *testing.T, n int, now func() time.Time) *site {
	t.Helper()
	return openSite(&site{t: t, now: now,
		logFile: 512 << 10, silent: time.Minute, // owners stay: a simulation takes no detour on a slow machine
		cache: 1 << 10}, n) // what is read must be stored, not remembered
}

func openSite(s *site, n int) *site {
	t := s.t
	t.Helper()
	s.ca = t.TempDir()
	noErr(t, pki.InitCA(s.ca, "test", time.Hour))
	for i := range n {
		h := s.host(redoubt.NodeID("n" + strconv.Itoa(i+1)))
		s.peers = append(s.peers, cluster.Peer{ID: h.id, Addr: h.addr})
		h.founders = &s.peers
	}
	t.Cleanup(func() {
		for _, h := range s.nodes {
			h.stop()
		}
	})
	for _, h := range s.nodes {
		h.open()
	}
	s.eventually("registration", func() bool {
		for _, h := range s.nodes {
			if len(h.node.Catalog().Nodes()) != n {
				return false
			}
		}
		return true
	})
	return s
}

// host makes a node that listens and has not started.
func (s *site) host(id redoubt.NodeID) *host {
	s.t.Helper()
	h := &host{site: s, id: id, founders: &[]cluster.Peer{}, dir: filepath.Join(s.t.TempDir(), string(id))}
	noErr(s.t, os.MkdirAll(h.dir, 0o700))
	h.cred = s.issue(pki.Identity{Role: pki.RoleTarget, Name: string(id)})
	h.listen("127.0.0.1:0")
	h.addr = h.mux.Addr().String()
	s.nodes = append(s.nodes, h)
	s.mu.Lock()
	s.addrs = append(s.addrs, h.addr)
	s.mu.Unlock()
	return h
}

func (s *site) issue(id pki.Identity) *pki.Credentials {
	s.t.Helper()
	dir := s.t.TempDir()
	noErr(s.t, pki.Issue(s.ca, dir, id, []string{"127.0.0.1"}, time.Hour))
	cred, err := pki.Load(dir)
	noErr(s.t, err)
	return cred
}

func (h *host) listen(addr string) {
	h.site.t.Helper()
	var err error
	h.mux, err = netmux.Listen(addr, h.cred, logger(h.site.t))
	noErr(h.site.t, err)
}

func (h *host) open() {
	t := h.site.t
	t.Helper()
	log := logger(t).With("at", string(h.id))
	dial := func(ctx context.Context, addr, proto string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, proto, h.cred, pki.RoleTarget)
	}
	h.rpc = rpc.NewServer(log)
	h.pool = rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, addr, netmux.ProtoPeer) })
	var err error
	h.node, err = cluster.Open(cluster.Options{ID: h.id, Advertise: h.addr, Dir: filepath.Join(h.dir, "raft"), Bootstrap: *h.founders, Join: h.join, Domain: h.domain, Dial: dial,
		RaftListener: h.mux.Listener(netmux.ProtoRaft, pki.RoleTarget), RPC: h.rpc, Pool: h.pool, Logger: log, LevelLeast: h.site.level,
		Timeouts: cluster.Timeouts{Heartbeat: 500 * time.Millisecond, Owner: h.site.silent, Ping: 100 * time.Millisecond, Rebalance: time.Second}})
	noErr(t, err)
	o := Options{Node: h.node, Now: h.site.now, Dir: h.dir, FS: vfs.OS, RPC: h.rpc, Pool: h.pool, Logger: log, CacheBytes: h.site.cache, HeadBytes: h.site.cache / 4,
		LogFileSize: h.site.logFile, Tick: 50 * time.Millisecond, IndexReclaim: 20 * time.Millisecond, RepairBytes: 1 << 30, ScrubBytes: -1}
	if h.site.now != nil {
		o.RetainEvery = -1
	}
	if h.site.set != nil {
		h.site.set(&o)
	}
	h.store, err = Open(o)
	noErr(t, err)
	h.recv = ship.NewReceiver(ship.ReceiverOptions{Sink: h.store.Sink(), Logger: log})
	go func(s *rpc.Server, l net.Listener) { _ = s.Serve(l) }(h.rpc, h.mux.Listener(netmux.ProtoPeer))
	go func(r *ship.Receiver, l net.Listener) { _ = r.Serve(l) }(h.recv, h.mux.Listener(netmux.ProtoShip))
}

func (h *host) stop() {
	if h.store == nil {
		return
	}
	_ = h.mux.Close() // from now on nobody hears anything
	_ = h.recv.Close()
	noErr(h.site.t, h.store.Close())
	noErr(h.site.t, h.node.Close())
	_ = h.rpc.Close()
	_ = h.pool.Close()
	h.store = nil
}

func (h *host) start() {
	h.site.t.Helper()
	h.listen(h.addr)
	h.open()
}

// eventually polls: the nodes tell nobody when, for instance, a repair is done.
func (s *site) eventually(what string, ok func() bool) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			s.t.Fatalf("%s: not within 30 s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (s *site) owner(id redoubt.GroupID) *host {
	s.t.Helper()
	var o *host
	s.eventually("an owner that is up", func() bool {
		for _, h := range s.nodes {
			if h.store == nil {
				continue
			}
			g, _ := h.node.Catalog().Group(id)
			for _, k := range s.nodes {
				if k.id == g.Owner && k.store != nil {
					o = k
					return true
				}
			}
		}
		return false
	})
	return o
}

func (s *site) whole(id redoubt.GroupID) {
	s.t.Helper()
	s.eventually("full redundancy", func() bool {
		r, err := s.owner(id).store.Redundancy(id)
		return err == nil && r.Segments > 0 && r.Degraded == 0
	})
}

// source is a protected host without NBD: a journal, the disks as they should
// be, and a Sender.
type source struct {
	t     *testing.T
	site  *site
	name  string
	group redoubt.GroupID
	cred  *pki.Credentials
	j     *journal.Journal
	send  *ship.Sender
	disks []redoubt.Disk
	more  ship.Hello // what its hello says beside the usual
	rng   *rand.Rand

	k, m     int   // wanted; 0: the site's default
	maxDelta int   // raw bytes
	onlyTo   []int // disks that write writes to, by their place in disks; nil: all
	lin      redoubt.Lineage

	mu    sync.Mutex
	now   [][]byte // content by disk
	snaps map[redoubt.LSN][][]byte
	times map[redoubt.LSN]int64

	ended chan struct{} // closed when the sender's Run has returned err
	err   error
}

func newSource(t *testing.T, s *site, rng *rand.Rand) *source {
	t.Helper()
	src := &source{t: t, site: s, name: "web1", group: "shop", lin: redoubt.Lineage{{Epoch: 1}}, maxDelta: 128 << 10, cred: s.issue(pki.Identity{Role: pki.RoleSource, Name: "web1"}), rng: rng,
		disks: []redoubt.Disk{{ID: 1, Name: "root", Size: 1 << 20}, {ID: 2, Name: "data", Size: 1 << 19}},
		snaps: map[redoubt.LSN][][]byte{}, times: map[redoubt.LSN]int64{}}
	var err error
	src.j, err = journal.Open(filepath.Join(t.TempDir(), "journal"), journal.Options{FS: vfs.OS, Create: true, SegmentSize: 4 << 20, Start: redoubt.Position{Epoch: 1}})
	noErr(t, err)
	t.Cleanup(func() { noErr(t, src.j.Close()) })
	for _, d := range src.disks {
		b := make([]byte, d.Size)
		for i := range b[:d.Size/2] {
			b[i] = byte(rng.Uint32())
		}
		src.now = append(src.now, b)
	}
	return src
}

func (s *source) ReadCurrent(d redoubt.DiskID, p []byte, off uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	copy(p, s.now[d-1][off:])
	return nil
}

func (s *source) hello() ship.Hello {
	disks := slices.DeleteFunc(slices.Clone(s.disks), func(d redoubt.Disk) bool { return slices.Contains(s.more.Gone, d) })
	return ship.Hello{Group: s.group, UUID: "9a1c7a2e-shop", Source: s.name, Disks: disks, Lineage: s.lin, K: s.k, M: s.m, Joining: s.more.Joining, Gone: s.more.Gone}
}

func (s *source) addrs() []string {
	s.site.mu.Lock()
	defer s.site.mu.Unlock()
	return slices.Clone(s.site.addrs)
}

func (s *source) dial(ctx context.Context, addr string) (net.Conn, error) {
	return netmux.Dial(ctx, addr, netmux.ProtoShip, s.cred, pki.RoleTarget)
}

// run starts the sender; the function that it returns stops it and gives what
// Run returned.
func (s *source) run() (stop func() error) {
	s.send = ship.NewSender(ship.SenderOptions{Journal: s.j, Cursor: "store", Keep: "whole", Current: s, Hello: s.hello, Dial: s.dial, Addrs: s.addrs,
		MaxDelta: s.maxDelta, MaxDelay: 5 * time.Millisecond, Heartbeat: 50 * time.Millisecond, Logger: logger(s.t).With("at", s.name)})
	ctx, cancel := context.WithCancel(context.Background())
	s.ended = make(chan struct{})
	go func(ended chan struct{}) {
		s.err = s.send.Run(ctx)
		close(ended)
	}(s.ended)
	stop = func() error {
		cancel()
		<-s.ended
		return s.err
	}
	s.t.Cleanup(func() { _ = stop() })
	return stop
}

func (s *source) add(ws ...redoubt.Write) {
	s.t.Helper()
	noErr(s.t, s.j.Append(ws))
	for i := range ws {
		s.times[ws[i].LSN] = ws[i].Time
	}
}

// copyAll announces the copy of all disks, with writes in between.
func (s *source) copyAll() {
	s.t.Helper()
	const step = 256 << 10
	for _, d := range s.disks {
		for off := uint64(0); off < d.Size; off += step {
			s.add(redoubt.Write{Disk: d.ID, Kind: redoubt.KindCopy, Extent: redoubt.Extent{Off: off, Len: step}})
			s.write(5)
		}
	}
	s.add(redoubt.Write{Kind: redoubt.KindBaseline})
}

// write makes n random writes, zeroes and trims.
func (s *source) write(n int) {
	s.t.Helper()
	for range n {
		d := s.rng.IntN(len(s.disks))
		if s.onlyTo != nil {
			d = s.onlyTo[s.rng.IntN(len(s.onlyTo))]
		}
		size := s.disks[d].Size
		l := uint64(1+s.rng.IntN(16)) * 512
		off := uint64(s.rng.IntN(int((size-l)/512))) * 512
		w := redoubt.Write{Disk: s.disks[d].ID, Extent: redoubt.Extent{Off: off, Len: l}}
		s.mu.Lock()
		dst := s.now[d][off : off+l]
		switch s.rng.IntN(8) {
		case 0:
			w.Kind = redoubt.KindTrim
			clear(dst)
		case 1:
			w.Kind = redoubt.KindZero
			clear(dst)
		default:
			w.Kind = redoubt.KindWrite
			for i := range dst {
				dst[i] = byte(s.rng.Uint32() % 7)
			}
			w.Data = append([]byte(nil), dst...)
			w.CRC = redoubt.Checksum(w.Data)
		}
		err := s.j.Append([]redoubt.Write{w})
		s.mu.Unlock()
		noErr(s.t, err)
	}
}

// snap remembers the disks as they are at the journal's head.
func (s *source) snap() redoubt.LSN {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c [][]byte
	for _, b := range s.now {
		c = append(c, append([]byte(nil), b...))
	}
	l := s.j.Head().LSN
	s.snaps[l] = c
	s.times[l] = s.j.HeadTime()
	return l
}

// shipped waits until everything is committed.
func (s *source) shipped() {
	s.t.Helper()
	head := s.j.Head().LSN
	s.site.eventually("commit of LSN "+head.String(), func() bool { return s.send.Status().Acked.LSN >= head })
}

// checkView compares all disks of a View with the model.
func (s *source) checkView(h *host, p redoubt.Position, want [][]byte) {
	s.t.Helper()
	v, err := h.store.View(s.t.Context(), s.group, p)
	noErr(s.t, err)
	defer v.Close()
	for i, d := range s.disks {
		got := make([]byte, d.Size)
		noErr(s.t, v.ReadAt(d.ID, got, 0))
		if redoubt.Checksum(got) != redoubt.Checksum(want[i]) {
			for b := range got {
				if got[b] != want[i][b] {
					s.t.Fatalf("%s at %s: disk %s differs from byte %d on", p, h.id, d.Name, b)
				}
			}
		}
	}
}

// checkAll compares every point that was remembered, each on one of the nodes.
func (s *source) checkAll(e redoubt.Epoch) {
	s.t.Helper()
	for l, want := range s.snaps {
		h := s.site.nodes[s.rng.IntN(len(s.site.nodes))]
		for h.store == nil {
			h = s.site.nodes[s.rng.IntN(len(s.site.nodes))]
		}
		s.checkView(h, redoubt.Position{Epoch: e, LSN: l}, want)
	}
}

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v (hint: %s)", err, redoubt.Hint(err))
	}
}

func isErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}
