package peers

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// Options of Peers. All but Logger are required.
type Options struct {
	Self    redoubt.NodeID   // this node
	Catalog *catalog.Catalog // names the nodes and their addresses
	Pool    *rpc.Pool
	RPC     *rpc.Server // gets the methods
	Logger  *slog.Logger
	Now     func() time.Time
	Tick    time.Duration // between two questions to each node how it is
	Back    func()        // called when a node answers or takes shards again; nil: nobody wants to know
	Failed  func() error  // why this node takes no shards until it is restarted; nil: it does
}

// Peers calls the other nodes and remembers which of them do not answer, so
// that a dead node costs one time-out and not one for every delta, and which of
// them take no shards because their log has failed. Methods may be called
// concurrently.
type Peers struct {
	o      Options
	ctx    context.Context // ends when this node takes no more calls
	mu     sync.Mutex
	down   map[redoubt.NodeID]time.Time // since when
	failed map[redoubt.NodeID]failure
}

// New returns the peers of a node; nobody is called yet, and no calls are taken.
// When ctx is over calls of others are refused.
func New(ctx context.Context, o Options) *Peers {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Failed == nil {
		o.Failed = func() error { return nil }
	}
	return &Peers{o: o, ctx: ctx, down: map[redoubt.NodeID]time.Time{}, failed: map[redoubt.NodeID]failure{}}
}

// Up reports whether shards may be given to the node: it is not known to be
// down, nor that its log has failed.
func (p *Peers) Up(n redoubt.NodeID) bool { return p.Answers(n) && p.Failed(n) == "" }

// Answers reports whether the node is not known to be down. This node answers.
// One whose log has failed does, too: what it stored before can be read.
func (p *Peers) Answers(n redoubt.NodeID) bool {
	if n == p.o.Self {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	_, down := p.down[n]
	return !down
}

// GiveUp marks the node as down until it answers a probe.
func (p *Peers) GiveUp(n redoubt.NodeID, reason error) {
	if n == p.o.Self {
		return
	}
	p.mu.Lock()
	_, known := p.down[n]
	if !known {
		p.down[n] = p.o.Now()
	}
	p.mu.Unlock()
	if !known {
		p.o.Logger.Warn("node does not answer; going on without it", "node", n, "err", reason)
	}
}

// Call calls a method of the node, whose address is in the catalog (ErrNotFound if
// it is not). A node that cannot be reached is given up: ErrUnavailable.
func (p *Peers) Call(ctx context.Context, n redoubt.NodeID, method string, body ...[]byte) ([]byte, error) {
	a, err := p.callPart(ctx, n, method, body...)
	return a.Data, err
}

func (p *Peers) callPart(ctx context.Context, n redoubt.NodeID, method string, body ...[]byte) (slab.Part, error) {
	info, ok := p.o.Catalog.Node(n)
	if !ok {
		return slab.Part{}, &redoubt.Error{Op: "call node", Object: string(n), Err: redoubt.ErrNotFound}
	}
	b, err := p.o.Pool.CallPart(ctx, info.Addr, method, body...)
	if err != nil && ctx.Err() == nil && errors.Is(err, redoubt.ErrUnavailable) {
		p.GiveUp(n, err)
	}
	return b, err
}

// Down lists the nodes that do not answer, in no order.
func (p *Peers) Down() (out []redoubt.NodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for n := range p.down {
		out = append(out, n)
	}
	return out
}

// Probe asks every node at each Tick how it is, and ends with the peers: so one
// that is down is noticed to answer again, and one whose log fails or was mended
// is known to all within a second or so.
func (p *Peers) Probe() {
	ctx := p.ctx
	t := time.NewTicker(p.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		var wg sync.WaitGroup
		for _, n := range p.o.Catalog.Nodes() {
			if n.ID != p.o.Self {
				wg.Go(func() { p.ask(ctx, n) })
			}
		}
		wg.Wait()
	}
}

// ask calls one node. Silence is no news: who calls it for a reason gives it up.
func (p *Peers) ask(ctx context.Context, n catalog.NodeInfo) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	asked := p.o.Now()
	b, err := p.o.Pool.Call(ctx, n.Addr, methodPing)
	if err != nil {
		return
	}
	c, err := readCondition(b)
	if err != nil {
		p.o.Logger.Warn("what a node says of itself is not understood", "node", n.ID, "err", err)
	}
	p.mu.Lock()
	since, was := p.down[n.ID]
	delete(p.down, n.ID)
	p.mu.Unlock()
	if was {
		p.o.Logger.Info("node answers again", "node", n.ID, "after", p.o.Now().Sub(since))
	}
	if mended := err == nil && p.learn(n.ID, c.Failed, asked); (was || mended) && p.o.Back != nil {
		p.o.Back()
	}
}

// readTimeout bounds a read from one node, so that a hung one is passed over.
const readTimeout = 3 * time.Second

// Read is Call for what a node answers from its disks: within 3 s, or it counts as
// down.
func (p *Peers) Read(ctx context.Context, n redoubt.NodeID, method string, body []byte) ([]byte, error) {
	a, err := p.ReadPart(ctx, n, method, body)
	return a.Data, err
}

// ReadPart is Read into recycled memory, which the caller frees.
func (p *Peers) ReadPart(ctx context.Context, n redoubt.NodeID, method string, body []byte) (slab.Part, error) {
	c, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	b, err := p.callPart(c, n, method, body)
	if err != nil && ctx.Err() == nil && c.Err() != nil {
		p.GiveUp(n, err)
	}
	return b, err
}
