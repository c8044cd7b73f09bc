package export

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target"
)

// Options are what a Manager needs. All are required but Logger and Now.
type Options struct {
	ID         redoubt.NodeID
	Node       *cluster.Node
	Store      *target.Store
	Dir        string // folders of the instances
	RunDir     string // NBD sockets
	JournalMax int64  // bytes of journal for each instance; default 4 GiB

	// Hydrate says which instances are copied to this node without being asked:
	// HydrateNone, HydrateFailover or HydrateAll. HydrateRate bounds the copy of
	// each, in bytes a second; default 64 MiB.
	Hydrate     HydratePolicy
	HydrateRate int64

	// DialTarget connects to a master target's shipping port, DialSource to a source's.
	DialTarget, DialSource func(ctx context.Context, addr string) (net.Conn, error)
	// DialCompare connects to a source to compare hashes with it.
	DialCompare func(ctx context.Context, addr string) (net.Conn, error)

	Logger *slog.Logger
	Now    func() time.Time
}

// Manager holds the instances of one node and runs failover, test failover,
// reverse replication and failback on it. Methods may be called concurrently;
// operations on one group run one after the other.
type Manager struct {
	o   Options
	ctx context.Context // ends with Close
	end context.CancelFunc
	wg  sync.WaitGroup

	mu    sync.Mutex
	tests map[string]*Instance
	prod  map[redoubt.GroupID]*production
	busy  map[redoubt.GroupID]chan struct{} // held while an operation on the group runs

	asking  map[redoubt.GroupID]bool   // whether the old primary is there
	driving map[redoubt.GroupID]func() // ends the run of a job of the group that is driven here
	held    map[redoubt.GroupID]int    // operations that do the steps of their job themselves
}

// Open returns a Manager that opens again, in the background, what was open
// when the node stopped.
func Open(o Options) (*Manager, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.HydrateRate <= 0 {
		o.HydrateRate = 64 << 20
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := errors.Join(vfs.MakeDir(vfs.OS, o.Dir, 1), os.MkdirAll(o.RunDir, 0o700)); err != nil {
		return nil, err
	}
	if err := sweep(o.Dir); err != nil {
		return nil, err
	}
	m := &Manager{o: o, tests: map[string]*Instance{}, prod: map[redoubt.GroupID]*production{}, busy: map[redoubt.GroupID]chan struct{}{}, driving: map[redoubt.GroupID]func(){}, held: map[redoubt.GroupID]int{}, asking: map[redoubt.GroupID]bool{}}
	m.ctx, m.end = context.WithCancel(context.Background())
	dirs, err := filepath.Glob(filepath.Join(o.Dir, "*", "*", specFile))
	if err != nil {
		return nil, err
	}
	for _, f := range dirs {
		m.wg.Go(func() { m.reopen(filepath.Dir(f)) })
	}
	m.wg.Go(m.drive)
	return m, nil
}

// Close closes all instances; what was written in them is kept. Production
// instances open again when the node starts.
func (m *Manager) Close() error {
	m.end()
	m.wg.Wait()
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	for _, in := range m.tests {
		err = errors.Join(err, in.close())
	}
	for _, p := range m.prod {
		err = errors.Join(err, p.close())
	}
	return err
}

// lock waits until no other operation runs on the group.
func (m *Manager) lock(ctx context.Context, id redoubt.GroupID) (unlock func(), err error) {
	m.mu.Lock()
	ch, ok := m.busy[id]
	if !ok {
		ch = make(chan struct{}, 1)
		m.busy[id] = ch
	}
	m.mu.Unlock()
	select {
	case ch <- struct{}{}:
		return func() { <-ch }, nil
	case <-ctx.Done():
		return nil, &redoubt.Error{Op: "wait for the running operation on", Object: string(id), Err: ctx.Err()}
	}
}

// begin starts an operation on the group: it waits for its turn and reads the
// group as it is then. The caller ends it with unlock.
func (m *Manager) begin(ctx context.Context, id redoubt.GroupID) (g catalog.Group, unlock func(), err error) {
	m.idle(ctx, id)
	if unlock, err = m.lock(ctx, id); err != nil {
		return catalog.Group{}, nil, err
	}
	if g, err = m.group(ctx, id); err != nil {
		unlock()
		return catalog.Group{}, nil, err
	}
	return g, unlock, nil
}

// group reads the group from a catalog that is at least as new as the call.
func (m *Manager) group(ctx context.Context, id redoubt.GroupID) (catalog.Group, error) {
	if err := m.o.Node.Barrier(ctx); err != nil {
		return catalog.Group{}, err
	}
	g, ok := m.o.Node.Catalog().Group(id)
	if !ok {
		return catalog.Group{}, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	return g, nil
}

// reopen opens the instance in dir again after a restart, trying until the
// catalog and the history are there, or removes it if it is over.
func (m *Manager) reopen(dir string) {
	spec, err := readSpec(dir)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.o.Logger.Error("an export cannot be opened again", "dir", dir, "err", err)
		}
		return
	}
	log := m.o.Logger.With("group", string(spec.Group), "export", spec.ID)
	for {
		over, err := m.tryReopen(spec, dir)
		if over && err == nil {
			err = m.drop(dir, spec)
		}
		switch {
		case over && err == nil:
			log.Info("the export is over; its writes are dropped")
			return
		case over:
			log.Error("the export is over, and could not be deleted", "dir", dir, "err", err)
		case err == nil:
			log.Info("the export is open again", "kind", string(spec.Kind), "point", spec.Point.String())
			return
		}
		if !over {
			log.Warn("the export cannot be opened yet", "err", err, "hint", redoubt.Hint(err))
		}
		select {
		case <-m.ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

func (m *Manager) tryReopen(spec Spec, dir string) (over bool, err error) {
	g, err := m.group(m.ctx, spec.Group)
	if errors.Is(err, redoubt.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	// The name has gone to another group, or nobody was told of it yet, or not any more.
	if g.UUID != spec.UUID || spec.Filling || spec.Over {
		return true, nil
	}
	if spec.Kind == KindFailover && (g.Writer != catalog.TargetWriter(m.o.ID) || g.Epoch != spec.Epoch) {
		return true, nil
	}
	if over, err := m.outlive(spec); over || err != nil {
		return over, err
	}
	if spec.Kind == KindTest { // the node may have stopped between the spec and the pin
		if err := m.pin(m.ctx, &spec); err != nil {
			return false, err
		}
	}
	in, err := m.open(m.ctx, spec, dir)
	if err != nil {
		return false, err
	}
	if spec.Kind == KindFailover {
		return false, m.adopt(in, g)
	}
	m.mu.Lock()
	m.tests[spec.ID] = in
	m.mu.Unlock()
	return false, nil
}

// open opens an instance whose spec is durable in dir.
func (m *Manager) open(ctx context.Context, spec Spec, dir string) (*Instance, error) {
	view, err := m.o.Store.View(ctx, spec.Group, spec.Point)
	if err != nil {
		return nil, err
	}
	name := string(spec.Group) + ".sock"
	if spec.Kind == KindTest {
		name = string(spec.Group) + "." + spec.ID + ".sock"
	}
	return openInstance(spec, dir, filepath.Join(m.o.RunDir, name), view, m.o.JournalMax, m.o.HydrateRate, m.o.Logger.With("group", string(spec.Group)))
}

func (m *Manager) dir(s Spec) string { return filepath.Join(m.o.Dir, string(s.Group), s.ID) }
