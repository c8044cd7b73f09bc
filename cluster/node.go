package cluster

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// commitNotice is how soon a leader that has nothing else to send tells its
// followers what is committed. A proposer on a follower waits for it.
const commitNotice = 5 * time.Millisecond

// Node is this program's membership in the cluster. Its methods may be called
// concurrently.
type Node struct {
	o       Options
	self    identity
	machine *catalog.StateMachine
	catalog *catalog.Catalog // of machine
	store   *store
	trans   transport
	raft    *raft.Raft
	started atomic.Pointer[raft.Raft] // raft, for what Raft itself calls
	session *session
	health  *health
	leader  *leaderWatch

	rebalanced time.Time               // when a group last moved; of duty
	storage    atomic.Pointer[Storage] // see GoBy

	ctx       context.Context // ends with Close
	cancel    context.CancelFunc
	wg        sync.WaitGroup
	fatalOnce sync.Once
	closeOnce sync.Once
	closeErr  error
}

// Open starts the node: it recovers the catalog from its folder, joins the
// others and registers itself as soon as there is a leader. It returns before
// there is one.
func Open(o Options) (_ *Node, err error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	n := &Node{o: o, machine: catalog.NewStateMachine(), health: newHealth(o.Now), rebalanced: o.Now()}
	n.catalog = n.machine.Catalog()
	n.ctx, n.cancel = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			n.stop()
		}
	}()
	dog := newWatchdog(o.Timeouts.Hang, n.fatal)
	if n.store, err = openStore(o.Dir, o.Logger, dog, n.appended, n.fatal); err != nil {
		return nil, err
	}
	if n.self, err = loadIdentity(o.Dir, o.ID); err != nil {
		return nil, err
	}
	var client catalog.ClientID
	_, _ = rand.Read(client[:])
	n.session = newSession(client)
	n.run(func() { dog.run(n.ctx.Done()) })
	if err := n.startRaft(); err != nil {
		return nil, err
	}
	n.serve()
	n.run(n.register)
	n.run(n.pingAll)
	n.run(n.duty)
	n.run(n.memberDuty)
	n.run(n.moveDuty)
	return n, nil
}

func (n *Node) startRaft() error {
	cfg := raft.DefaultConfig()
	cfg.LocalID = raft.ServerID(n.o.ID)
	cfg.Logger = newRaftLogger(n.o.Logger)
	t := n.o.Timeouts
	cfg.HeartbeatTimeout, cfg.ElectionTimeout, cfg.LeaderLeaseTimeout = t.Heartbeat, t.Heartbeat, t.Heartbeat
	cfg.SnapshotThreshold, cfg.TrailingLogs = t.SnapshotEvery, t.SnapshotEvery
	cfg.MaxAppendEntries = 256
	cfg.BatchApplyCh = true
	cfg.CommitTimeout = commitNotice
	cfg.NoLegacyTelemetry = true
	cfg.ShutdownOnRemove = false // a removed node ends by itself, with a reason

	fresh, err := n.fresh()
	if err != nil {
		return err
	}
	n.trans = newTransport(&n.o)
	f := &fsm{machine: n.machine, fatal: n.fatal, applied: n.applied}
	if fresh {
		if err := n.bootstrap(cfg); err != nil {
			return err
		}
	}
	r, err := raft.NewRaft(cfg, f, n.store.log, n.store.stable, n.store.snapshots, n.trans)
	if err != nil {
		return fail("start raft", string(n.o.ID), err, "")
	}
	n.raft = r
	n.started.Store(r)
	n.leader = watchLeader(r)
	return nil
}

// fresh reports whether this node never ran. Then it must not be known to the
// others either: it would vote a second time in terms in which it voted before.
func (n *Node) fresh() (bool, error) {
	has, err := raft.HasExistingState(n.store.log, n.store.stable, n.store.snapshots)
	if err != nil {
		return false, fail("read raft store", n.o.Dir, err, "")
	}
	if has {
		return false, nil
	}
	return true, n.askIfKnown()
}

// bootstrap writes the founding members as the first log entry. All of them
// write the same, so it does not matter who is first.
func (n *Node) bootstrap(cfg *raft.Config) error {
	var members raft.Configuration
	found := false
	for _, p := range n.o.Bootstrap {
		members.Servers = append(members.Servers, raft.Server{ID: raft.ServerID(p.ID), Address: raft.ServerAddress(p.Addr)})
		if p.ID == n.o.ID {
			found = true
			if p.Addr != n.o.Advertise {
				return invalid("found cluster", string(n.o.ID), fmt.Sprintf("it is listed at %s but says %s", p.Addr, n.o.Advertise))
			}
		}
	}
	if !found {
		return nil // it joins: see register
	}
	if err := raft.BootstrapCluster(cfg, n.store.log, n.store.stable, n.store.snapshots, n.trans, members); err != nil {
		return fail("found cluster", string(n.o.ID), errors.Join(err, redoubt.ErrInvalid), "check the list of founding members")
	}
	return nil
}

// patiently runs f, but waits for it no longer than limit.
func (n *Node) patiently(f func() error, limit time.Duration) bool {
	done := make(chan struct{})
	go func() { defer close(done); _ = f() }()
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-done:
		return true
	case <-t.C:
		return false
	}
}

func (n *Node) run(f func()) {
	n.wg.Add(1)
	go func() {
		defer n.wg.Done()
		f()
	}()
}

// fatal tells the program once that this node must end.
func (n *Node) fatal(err error) {
	n.fatalOnce.Do(func() {
		n.o.Logger.Error("the node must end", "error", err, "hint", redoubt.Hint(err))
		go n.o.OnFatal(err)
	})
}

// ID is the node's own ID.
func (n *Node) ID() redoubt.NodeID { return n.o.ID }

// Catalog is the node's own copy of what the cluster agreed on.
func (n *Node) Catalog() *catalog.Catalog { return n.catalog }

// Changed returns a channel that is closed at the catalog's next change.
func (n *Node) Changed() <-chan struct{} { return n.catalog.Changed() }

// IsLeader reports whether this node believes to lead.
func (n *Node) IsLeader() bool { return n.raft.State() == raft.Leader }

// Leader returns the present leader, as far as this node knows; false if it knows none.
func (n *Node) Leader() (Peer, bool) {
	addr, id := n.raft.LeaderWithID()
	return Peer{ID: redoubt.NodeID(id), Addr: string(addr)}, id != ""
}

// Snapshot writes a snapshot of the catalog now, so that a restart reads less log.
func (n *Node) Snapshot() error {
	err := n.raft.Snapshot().Error()
	if err != nil && !errors.Is(err, raft.ErrNothingNewToSnapshot) {
		return fail("snapshot catalog", string(n.o.ID), err, "")
	}
	return nil
}

// Close leaves the cluster's conversation and closes the store. A leader
// hands over first, so that the others need not wait for an election. RPC
// server, pool and the port stay open; their methods answer ErrClosed.
func (n *Node) Close() error {
	n.closeOnce.Do(func() {
		if n.raft.State() == raft.Leader {
			n.patiently(n.raft.LeadershipTransfer().Error, 3*n.o.Timeouts.Heartbeat) // the others elect one in any case
		}
		n.closeErr = n.stop()
	})
	return n.closeErr
}

// stop ends everything that was started, in the reverse order.
func (n *Node) stop() error {
	n.cancel()
	var err error
	if n.raft != nil {
		if !n.patiently(func() error { err = n.raft.Shutdown().Error(); return err }, n.o.Timeouts.Hang) {
			// The disk hangs. What Raft still holds must not be closed under it.
			return fail("close cluster node", string(n.o.ID), fmt.Errorf("raft did not stop: %w", redoubt.ErrFailed), "end the program")
		}
		n.leader.close()
	}
	if n.trans.NetworkTransport != nil {
		n.trans.CloseStreams()
		_ = n.trans.Close()
	} else {
		_ = n.o.RaftListener.Close()
	}
	n.wg.Wait()
	if n.store != nil {
		n.store.close()
	}
	if err != nil {
		return fail("close cluster node", string(n.o.ID), err, "")
	}
	return nil
}
