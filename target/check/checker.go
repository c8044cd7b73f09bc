package check

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/target"
	"github.com/redoubt-dr/redoubt/target/export"
	"github.com/redoubt-dr/redoubt/target/history"
)

const (
	// atOnce is how many checks one node carries out at the same time.
	atOnce = 2
)

// Options says what a node checks, and with what.
type Options struct {
	Node        *cluster.Node
	Store       *target.Store
	Exports     *export.Manager
	Credentials *pki.Credentials
	Name        string        // this node's
	Dir         string        // scratch folders live here
	Scripts     hook.Dir      // empty: checks are refused
	Time        time.Duration // limit of a script
	Schedule    []Scheduled
	Logger      *slog.Logger
	Now         func() time.Time
}

// Scheduled is a check that nobody asks for.
type Scheduled struct {
	Group  redoubt.GroupID
	Script string
	At     history.PointSpec
	Every  time.Duration
	NoHash bool
}

// Checker carries out recovery checks on one node. Its methods may be called
// concurrently.
type Checker struct {
	o      Options
	slots  chan struct{}
	ctx    context.Context
	cancel context.CancelFunc
	runs   sync.WaitGroup

	mu     sync.Mutex
	active map[string]bool // ids of the checks under way
}

// Open ends what checks of an earlier life have left open, and begins the schedule.
func Open(o Options) (*Checker, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, err
	}
	c := &Checker{o: o, slots: make(chan struct{}, atOnce), active: map[string]bool{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	left, err := filepath.Glob(filepath.Join(o.Dir, "*"))
	if err != nil {
		return nil, err
	}
	for _, dir := range left {
		if err := dropScratch(dir); err != nil {
			o.Logger.Error("what a recovery check had left could not be cleaned up", "err", err, "hint", redoubt.Hint(err))
		}
	}
	c.runs.Go(c.sweep)
	for _, s := range o.Schedule {
		c.runs.Go(func() { c.follow(s) })
	}
	return c, nil
}

// Close gives up what is under way and waits until it is cleaned up.
func (c *Checker) Close() error {
	c.cancel()
	c.runs.Wait()
	return nil
}

// sweepEvery is how often the node looks for test failovers of checks that
// nobody carries out any more: it opens what an earlier life had open when it
// finds the cluster, not at its start.
const sweepEvery = time.Second

func (c *Checker) sweep() {
	t := time.NewTicker(sweepEvery)
	defer t.Stop()
	for {
		for _, in := range c.o.Exports.Instances() {
			if in.Check == "" || c.isActive(in.Check) {
				continue
			}
			_, _, err := c.o.Exports.Cleanup(in.Group, in.ID)
			c.o.Logger.Warn("a recovery check was cut short; its test failover is ended", "group", string(in.Group), "export", in.ID, "err", err)
		}
		select {
		case <-t.C:
		case <-c.ctx.Done():
			return
		}
	}
}

func (c *Checker) isActive(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active[id]
}

// begin notes a check that is under way; end takes that back.
func (c *Checker) begin(id string) (end func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.active[id] = true
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.active, id)
	}
}

// Request says what is checked.
type Request struct {
	Group  redoubt.GroupID
	At     history.PointSpec
	Script string
	NoHash bool // do not read the disks to compute the root hash
}

// Done is a check that was carried out. Its receipt tells the verdict.
type Done struct {
	Receipt *Receipt
	Signed  []byte
}

// Run checks a point. It returns an error if the check could not be carried
// out; a script that finds the disks bad is no error but a verdict.
func (c *Checker) Run(ctx context.Context, r Request) (*Done, error) {
	begin := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	script, sum, err := c.script(r.Script)
	if err != nil {
		return nil, err
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	default:
		return nil, &redoubt.Error{Op: "check group", Object: string(r.Group), Err: fmt.Errorf("%d checks are under way: %w", atOnce, redoubt.ErrUnavailable), Hint: "try again when one is done, or on another node"}
	}
	run := &run{c: c, req: r, script: script, begin: begin}
	receipt, err := run.carryOut(ctx)
	if err != nil {
		return nil, err
	}
	receipt.ScriptSHA256 = sum
	return c.record(ctx, receipt)
}

// record signs the receipt and attaches it to the point.
func (c *Checker) record(ctx context.Context, r *Receipt) (*Done, error) {
	signed, err := seal(r, c.o.Credentials)
	if err != nil {
		return nil, err
	}
	_, err = c.o.Node.Propose(ctx, catalog.PutCheck{Group: r.Group, Check: catalog.Check{ID: r.ID, Position: r.Point, Time: r.Finished.UnixNano(),
		Script: r.Script, Node: redoubt.NodeID(r.Node), Passed: r.Passed, RTO: int64(r.RTOSeconds * 1e9), Receipt: signed}})
	if err != nil {
		return nil, err
	}
	c.o.Logger.Info("recovery check", "group", string(r.Group), "point", r.Point.String(), "script", r.Script, "passed", r.Passed, "rto", r.RTOSeconds, "problem", r.Problem)
	return &Done{Receipt: r, Signed: signed}, nil
}

// Checks returns the checks of a group, the newest first.
func (c *Checker) Checks(ctx context.Context, id redoubt.GroupID) ([]catalog.Check, error) {
	if err := c.o.Node.Barrier(ctx); err != nil {
		return nil, err
	}
	if _, ok := c.o.Node.Catalog().Group(id); !ok {
		return nil, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	all := c.o.Node.Catalog().Checks(id)
	out := make([]catalog.Check, 0, len(all))
	for i := len(all) - 1; i >= 0; i-- {
		out = append(out, all[i])
	}
	return out, nil
}
