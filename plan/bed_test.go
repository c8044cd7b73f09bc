package plan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

const lease = 400 * time.Millisecond

// bed is a catalog that is agreed on through Raft, and daemons on it that can
// be killed: what a daemon has proposed is there, and nothing more comes of it.
type bed struct {
	*testing.T
	node  *cluster.Node
	world *world
	mu    sync.Mutex
	dead  map[redoubt.NodeID]bool
	alone map[redoubt.NodeID]bool // reach nobody
	life  map[redoubt.NodeID]*daemon
	now   func() time.Time // the daemons' clock; nil: the real one
}

func newBed(t *testing.T, text string) *bed {
	t.Helper()
	dir := t.TempDir()
	noErr(t, errors.Join(pki.InitCA(dir+"/ca", "test", time.Hour), pki.Issue(dir+"/ca", dir+"/id", pki.Identity{Role: pki.RoleTarget, Name: "n1"}, []string{"127.0.0.1"}, time.Hour)))
	cred, err := pki.Load(dir + "/id")
	noErr(t, err)
	mux, err := netmux.Listen("127.0.0.1:0", cred, nil)
	noErr(t, err)
	dial := func(ctx context.Context, addr, proto string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, proto, cred, pki.RoleTarget)
	}
	calls, pool := rpc.NewServer(nil), rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, addr, netmux.ProtoPeer) })
	b := &bed{T: t, dead: map[redoubt.NodeID]bool{}, alone: map[redoubt.NodeID]bool{}, life: map[redoubt.NodeID]*daemon{}}
	b.world = &world{open: map[string]bool{}, epoch: map[redoubt.GroupID]redoubt.Epoch{}}
	b.node, err = cluster.Open(cluster.Options{ID: "n1", Advertise: mux.Addr().String(), Dir: dir + "/raft", Bootstrap: []cluster.Peer{{ID: "n1", Addr: mux.Addr().String()}}, Dial: dial,
		RaftListener: mux.Listener(netmux.ProtoRaft, pki.RoleTarget), RPC: calls, Pool: pool})
	noErr(t, err)
	t.Cleanup(func() {
		for _, d := range b.life {
			_ = d.driver.Close()
		}
		_ = mux.Close()
		noErr(t, b.node.Close())
		_ = calls.Close()
		_ = pool.Close()
	})
	b.until("a leader", func() bool { return b.node.IsLeader() && len(b.node.Catalog().Nodes()) == 1 })
	for _, g := range []redoubt.GroupID{"orders", "stock", "pages"} {
		b.propose(catalog.CreateGroup{ID: g, UUID: "u" + string(g), Source: "host1", Disks: []redoubt.Disk{{ID: 1, Name: "d", Size: 1 << 20}}, K: 1, M: 0})
	}
	p := parse(t, text)
	b.propose(catalog.PutRecoveryPlan{Name: p.Name, Text: []byte(text)})
	return b
}

func (b *bed) propose(c catalog.Command) {
	b.Helper()
	_, err := b.node.Propose(b.Context(), c)
	noErr(b.T, err)
}

func (b *bed) until(what string, ok func() bool) {
	b.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			b.Fatalf("%s: not within a minute", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// daemon is one life of a node.
type daemon struct {
	b      *bed
	id     redoubt.NodeID
	driver *Driver
	mu     sync.Mutex
	left   int  // proposals until it is killed; below 0: never
	after  bool // the last proposal gets through, its answer does not
}

// start gives the node a life that ends at its n-th proposal; 0: never.
func (b *bed) start(id redoubt.NodeID, n int, after bool) *daemon {
	b.mu.Lock()
	delete(b.dead, id)
	b.mu.Unlock()
	d := &daemon{b: b, id: id, left: n - 1, after: after}
	d.driver = Open(Options{ID: id, Cluster: d, Site: b.world, Now: b.now, Lease: lease, Look: 20 * time.Millisecond})
	b.life[id] = d
	return d
}

// kill ends the daemon where it stands.
func (d *daemon) kill() {
	d.b.mu.Lock()
	d.b.dead[d.id] = true
	d.b.mu.Unlock()
	d.driver.end()
}

var errKilled = errors.New("killed")

// Propose implements Cluster.
func (d *daemon) Propose(ctx context.Context, c catalog.Command) (any, error) {
	d.mu.Lock()
	now := d.left == 0
	d.left--
	after := d.after
	d.mu.Unlock()
	if now && !after {
		d.kill()
	}
	if d.gone() {
		return nil, errKilled
	}
	v, err := d.b.node.Propose(ctx, c)
	if now {
		d.kill()
		return nil, errKilled
	}
	return v, err
}

func (d *daemon) gone() bool {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	return d.b.dead[d.id] || d.b.alone[d.id]
}

// Barrier implements Cluster.
func (d *daemon) Barrier(ctx context.Context) error {
	if d.gone() {
		return redoubt.ErrUnavailable
	}
	return d.b.node.Barrier(ctx)
}

// Catalog implements Cluster.
func (d *daemon) Catalog() *catalog.Catalog { return d.b.node.Catalog() }

// Alive implements Cluster.
func (d *daemon) Alive(id redoubt.NodeID) bool {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	return !d.b.dead[id] && !d.b.alone[id]
}

// IsLeader implements Cluster: the first living node leads.
func (d *daemon) IsLeader() bool {
	for _, id := range []redoubt.NodeID{"n1", "n2", "n3"} {
		if d.b.life[id] != nil && d.Alive(id) {
			return id == d.id
		}
	}
	return false
}

// world is the two sites as far as steps change them: it does what the real
// ones do, and remembers.
type world struct {
	mu      sync.Mutex
	open    map[string]bool // "RUN GROUP" of tests
	epoch   map[redoubt.GroupID]redoubt.Epoch
	moves   int // that changed something
	scripts []string
	now     []string // running
	twice   bool     // a step's script was started while it ran
	fail    func(step string) error
	block   string // the step whose script runs until it is given up
	down    bool   // groups cannot be closed at present
	points  []string
	causes  []error // for which scripts were given up
}

// Move implements Site.
func (w *world) Move(_ context.Context, m Move) ([]Disk, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fail != nil {
		if err := w.fail(string(m.Group)); err != nil {
			return nil, err
		}
	}
	w.points = append(w.points, m.Point)
	key := m.Run + " " + string(m.Group)
	switch {
	case m.Kind == catalog.RunTest && !w.open[key]:
		w.open[key] = true
		w.moves++
	case m.Kind != catalog.RunTest && w.epoch[m.Group] <= m.Before:
		w.epoch[m.Group] = m.Before + 1
		w.moves++
	}
	return []Disk{{Group: m.Group, Name: "d", Node: string(m.Node), URI: "nbd+unix:///d"}}, nil
}

// Close implements Site.
func (w *world) Close(_ context.Context, m Move) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return "", fmt.Errorf("node t9: %w", redoubt.ErrUnavailable)
	}
	delete(w.open, m.Run+" "+string(m.Group))
	delete(w.epoch, m.Group)
	return "closed", nil
}

// Script implements Site.
func (w *world) Script(ctx context.Context, s Script) (Output, error) {
	w.mu.Lock()
	w.twice = w.twice || slices.Contains(w.now, s.Step)
	w.now = append(w.now, s.Step)
	w.scripts = append(w.scripts, s.Step)
	block := w.block == s.Step
	var failure error
	if w.fail != nil {
		failure = w.fail(s.Step)
	}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.now = slices.DeleteFunc(w.now, func(x string) bool { return x == s.Step })
	}()
	if block {
		<-ctx.Done()
		w.mu.Lock()
		w.causes = append(w.causes, context.Cause(ctx))
		w.mu.Unlock()
		return Output{Tail: []byte("interrupted"), Bytes: 11}, context.Cause(ctx)
	}
	if failure != nil {
		return Output{}, failure
	}
	return Output{Tail: []byte(s.Name), Bytes: uint64(len(s.Name)), Digest: make([]byte, 32)}, nil
}

func (b *bed) run(n uint64) catalog.Run {
	r, _ := b.node.Catalog().Run("shop", n)
	return r
}

// ends waits until the run is in the state.
func (b *bed) ends(n uint64, want catalog.RunState) catalog.Run {
	b.Helper()
	b.until(fmt.Sprintf("run %d to be %s", n, want), func() bool { return b.run(n).State == want })
	return b.run(n)
}

func (b *bed) tell(c catalog.AdvanceRun) {
	b.Helper()
	c.Plan, c.Now, c.By = "shop", time.Now().UnixNano(), "operator/ann"
	b.propose(Event(c))
}
