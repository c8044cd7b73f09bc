package ship

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const diskSize = 1 << 40

// recorder is a Sink that keeps what is committed in memory. It commits behind
// the stream, in order, like a store does, and complains about everything that
// a Receiver must never let through.
type recorder struct {
	uuid    string // if set, the only one that is let in
	t       *testing.T
	durable func() redoubt.LSN // of the source's journal; nil if not watched
	rng     *rand.Rand

	mu        sync.Mutex
	welcome   Welcome // the answer, but for Committed
	noStream  bool
	refuse    error // Hello's error
	fail      error // given to the next done
	committed redoubt.Position
	writes    []redoubt.Write
	baseline  redoubt.LSN
	begins    []redoubt.LSN
	beats     int
	head      redoubt.LSN
	open      int
	dirty     map[redoubt.DiskID][]redoubt.Extent
	appended  int           // deltas given to Append
	moved     chan struct{} // closed at each change
	broken    chan error
	commits   sync.WaitGroup
}

func newRecorder(t *testing.T) *recorder {
	rng := seed(t)
	return &recorder{t: t, rng: rng, welcome: Welcome{Epoch: 1, Writer: "source/host1"}, committed: redoubt.Position{Epoch: 1}, moved: make(chan struct{})}
}

func (r *recorder) change(fn func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn()
	close(r.moved)
	r.moved = make(chan struct{})
}

// await waits until cond, which is called with r locked, holds.
func (r *recorder) await(what string, cond func() bool) {
	r.t.Helper()
	limit := time.After(20 * time.Second)
	for {
		r.mu.Lock()
		ok, moved := cond(), r.moved
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-moved:
		case <-limit:
			r.mu.Lock()
			defer r.mu.Unlock()
			r.t.Fatalf("%s: not after 20 s; committed %s, %d appended, open %d", what, r.committed, r.appended, r.open)
		}
	}
}

func (r *recorder) awaitLSN(l redoubt.LSN) {
	r.t.Helper()
	r.await(fmt.Sprintf("commit of LSN %d", l), func() bool { return r.committed.LSN >= l })
}

// Hello implements Sink.
func (r *recorder) Hello(ctx context.Context, peer pki.Identity, h Hello) (Welcome, Stream, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.refuse != nil {
		return Welcome{}, nil, r.refuse
	}
	if r.uuid != "" && h.UUID != r.uuid {
		return Welcome{}, nil, redoubt.ErrExists
	}
	w := r.welcome
	w.Committed = r.committed
	if h.Epoch < w.Epoch {
		w.Fenced = true
	}
	if r.noStream || w.Fenced || w.Redirect != "" || h.Probe {
		return w, nil, nil
	}
	if r.open > 0 {
		r.t.Errorf("a second stream is open")
	}
	r.open++
	s := &recStream{r: r, next: w.resume(h.Epoch) + 1, epoch: h.Epoch, queue: make(chan recItem, 4), ctx: ctx, resync: w.Resync}
	r.commits.Add(1)
	go s.commit(rand.New(rand.NewPCG(r.rng.Uint64(), 1)))
	return w, s, nil
}

type recItem struct {
	d    *Delta
	done func(redoubt.Position, error)
}

type recStream struct {
	r      *recorder
	ctx    context.Context
	next   redoubt.LSN
	epoch  redoubt.Epoch
	resync bool
	queue  chan recItem
}

func (s *recStream) Broken() <-chan error { return s.r.broken }

func (s *recStream) Begin(start redoubt.LSN) error {
	s.r.change(func() {
		s.r.begins = append(s.r.begins, start)
		if s.resync {
			s.next = start
			s.r.committed = redoubt.Position{Epoch: s.epoch, LSN: start - 1}
		}
		if start != s.next {
			s.r.t.Errorf("begin at %d, want %d", start, s.next)
		}
	})
	return nil
}

func (s *recStream) Append(d *Delta, done func(redoubt.Position, error)) {
	r := s.r
	if d.First != s.next || d.Epoch != s.epoch {
		r.t.Errorf("appended %d:%d-%d, want %d:%d", d.Epoch, d.First, d.Last, s.epoch, s.next)
	}
	if r.durable != nil && r.durable() < d.Last {
		r.t.Errorf("shipped up to %d, durable is %d", d.Last, r.durable())
	}
	s.next = d.Last + 1
	r.change(func() { r.appended++ })
	select {
	case s.queue <- recItem{d, done}:
	case <-s.ctx.Done():
	}
}

// commit takes deltas in order; some are never committed when the connection
// ends first, some are committed although it has ended.
func (s *recStream) commit(rng *rand.Rand) {
	r := s.r
	defer r.commits.Done()
	for it := range s.queue {
		if s.ctx.Err() != nil && rng.IntN(2) == 0 {
			for range s.queue { // lost
			}
			return
		}
		ws, err := it.d.Writes()
		if err != nil {
			r.t.Errorf("appended delta: %v", err)
		}
		var fail error
		r.change(func() {
			if fail = r.fail; fail != nil {
				r.fail = nil
				return
			}
			if it.d.First != r.committed.LSN+1 {
				r.t.Errorf("committing %d-%d after %s", it.d.First, it.d.Last, r.committed)
			}
			r.writes = append(r.writes, ws...)
			r.committed = it.d.Position()
			r.baseline = max(r.baseline, it.d.Baseline)
		})
		if fail != nil {
			it.done(redoubt.Position{}, fail)
			for range s.queue {
			}
			return
		}
		it.done(it.d.Position(), nil)
	}
}

func (s *recStream) Heartbeat(head redoubt.LSN, _, _ int64) {
	s.r.change(func() { s.r.beats++; s.r.head = head })
}

func (s *recStream) Dirty(yield func(redoubt.DiskID, redoubt.Extent) bool) error {
	for d, xs := range s.r.dirty {
		for _, x := range xs {
			if !yield(d, x) {
				return nil
			}
		}
	}
	return nil
}

func (s *recStream) Close() {
	close(s.queue)
	s.r.commits.Wait() // the next stream sees all that this one has committed
	s.r.change(func() { s.r.open-- })
}

// world is an authority and the receivers and journals of a test.
type world struct {
	t     *testing.T
	dir   string
	creds map[string]*pki.Credentials
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), creds: map[string]*pki.Credentials{}}
	if err := pki.InitCA(filepath.Join(w.dir, "ca"), "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) cred(role pki.Role, name string) *pki.Credentials {
	w.t.Helper()
	id := pki.Identity{Role: role, Name: name}
	if c := w.creds[id.String()]; c != nil {
		return c
	}
	dir := filepath.Join(w.dir, string(role)+"-"+name)
	if err := pki.Issue(filepath.Join(w.dir, "ca"), dir, id, nil, time.Hour); err != nil {
		w.t.Fatal(err)
	}
	c, err := pki.Load(dir)
	if err != nil {
		w.t.Fatal(err)
	}
	w.creds[id.String()] = c
	return c
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// receive starts a receiver over sink at a node and returns its address.
func (w *world) receive(sink Sink, node string) string {
	w.t.Helper()
	m, err := netmux.Listen("127.0.0.1:0", w.cred(pki.RoleTarget, node), quiet())
	if err != nil {
		w.t.Fatal(err)
	}
	r := NewReceiver(ReceiverOptions{Sink: sink, Logger: quiet(), Heartbeat: 50 * time.Millisecond, PeerTimeout: 2 * time.Second})
	l := m.Listener(netmux.ProtoShip, pki.RoleSource, pki.RoleTarget)
	served := make(chan error, 1)
	go func() { served <- r.Serve(l) }()
	w.t.Cleanup(func() {
		r.Close()
		m.Close()
		if err := <-served; err != nil {
			w.t.Errorf("Serve: %v", err)
		}
	})
	return m.Addr().String()
}

func (w *world) journal(start redoubt.Position) *journal.Journal {
	w.t.Helper()
	j, err := journal.Open(filepath.Join(w.t.TempDir(), "j"), journal.Options{FS: vfs.OS, Create: true, SegmentSize: 4 << 20, MaxBytes: 512 << 20, Start: start, Logger: quiet()})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := j.Close(); err != nil {
			w.t.Errorf("close journal: %v", err)
		}
	})
	return j
}

func hello() Hello {
	return Hello{Group: "g1", UUID: "u1", Source: "host1",
		Disks: []redoubt.Disk{{ID: 1, Name: "a", Size: diskSize}, {ID: 2, Name: "b", Size: diskSize}, {ID: 3, Name: "c", Size: diskSize}}}
}

// options are those of a sender on host1 that is impatient enough for a test.
func (w *world) options(j *journal.Journal, addrs ...string) SenderOptions {
	cred := w.cred(pki.RoleSource, "host1")
	return SenderOptions{Journal: j, Cursor: "site", Hello: hello, Addrs: func() []string { return addrs },
		Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			return netmux.Dial(ctx, addr, netmux.ProtoShip, cred, pki.RoleTarget)
		},
		MaxDelta: 64 << 10, MaxDelay: 5 * time.Millisecond, Heartbeat: 50 * time.Millisecond, PeerTimeout: time.Second, Logger: quiet()}
}

// run runs a sender until the test's end or until stop, which returns Run's error.
func (w *world) run(o SenderOptions) (s *Sender, stop func() error) {
	s = NewSender(o)
	ctx, cancel := context.WithCancel(context.Background())
	out := make(chan error, 1)
	go func() { out <- s.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error { once.Do(func() { cancel(); err = <-out }); return err }
	w.t.Cleanup(func() { stop() })
	return s, stop
}

// fill appends n random writes in batches and returns them as the journal has them.
func fill(t *testing.T, rng *rand.Rand, j *journal.Journal, n, most int) []redoubt.Write {
	t.Helper()
	all := randomWrites(rng, 1, n, most)
	for i := 0; i < n; {
		k := min(n-i, 1+rng.IntN(16))
		if err := j.Append(all[i : i+k]); err != nil {
			t.Fatal(err)
		}
		i += k
	}
	return all
}

// proxy passes bytes between a sender and a receiver, and can harm them.
type proxy struct {
	l    net.Listener
	to   string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]struct{}
	hold chan struct{} // while not nil, nothing passes
	// life, if set, gives the number of bytes after which a connection is cut.
	life func() int64
	cuts int
}

func newProxy(t *testing.T, to string, life func() int64) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{l: l, to: to, life: life, open: map[net.Conn]struct{}{}}
	p.wg.Add(1)
	go p.accept()
	t.Cleanup(p.close)
	return p
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) close() {
	p.l.Close()
	p.freeze(false)
	p.mu.Lock()
	for c := range p.open {
		c.Close()
	}
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *proxy) freeze(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if on && p.hold == nil {
		p.hold = make(chan struct{})
	} else if !on && p.hold != nil {
		close(p.hold)
		p.hold = nil
	}
}

func (p *proxy) accept() {
	defer p.wg.Done()
	for {
		a, err := p.l.Accept()
		if err != nil {
			return
		}
		b, err := net.Dial("tcp", p.to)
		if err != nil {
			a.Close()
			continue
		}
		p.mu.Lock()
		p.open[a], p.open[b] = struct{}{}, struct{}{}
		budget := int64(1 << 62)
		if p.life != nil {
			budget = p.life()
		}
		p.mu.Unlock()
		left := &budget
		p.wg.Add(2)
		go p.pipe(a, b, left)
		go p.pipe(b, a, left)
	}
}

func (p *proxy) pipe(from, to net.Conn, left *int64) {
	defer p.wg.Done()
	defer from.Close()
	defer to.Close()
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		hold := p.hold
		*left -= int64(n)
		cut := *left < 0
		if cut {
			p.cuts++
		}
		p.mu.Unlock()
		if hold != nil {
			<-hold
		}
		if cut || err != nil {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil && err != io.ErrClosedPipe {
			return
		}
	}
}

func contains(err error, s string) bool { return err != nil && strings.Contains(err.Error(), s) }
