package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/rpc"
)

// Peer is a founding member of the cluster.
type Peer struct {
	ID   redoubt.NodeID
	Addr string // host:port, as the others reach it
}

// Options configure Open. All fields without "may be" are required.
type Options struct {
	ID        redoubt.NodeID
	Advertise string // host:port where the others reach this node
	Dir       string // holds the Raft log and the snapshots; made if missing
	Bootstrap []Peer // the founding members, the same list on all of them; used at the first start only. May be empty with Join
	// Join is addresses of members of a cluster that this node was invited to.
	Join   []string
	Domain string // what fails together with this node, such as a rack; may be empty
	// Dial opens a connection for an ALPN protocol; it must check that the other side is a target.
	Dial func(ctx context.Context, addr, proto string) (net.Conn, error)
	// RaftListener accepts Raft connections; Close closes it.
	RaftListener net.Listener
	RPC          *rpc.Server // Open registers the methods cluster.*
	Pool         *rpc.Pool
	Logger       *slog.Logger     // may be nil: no logging
	Now          func() time.Time // may be nil: time.Now. Used to measure spans; never enters the catalog
	Timeouts     Timeouts         // zero fields take the defaults
	// LevelLeast is the least difference, in bytes held, between two nodes for
	// which shards are moved from one to the other. Default 1 GiB.
	LevelLeast uint64
	// OnFatal may be nil. It is called once, in a goroutine of its own, when
	// the node must not go on: the log's disk hangs or lies, an entry of a newer version
	// arrived, or another node has this ID. The program should end.
	OnFatal func(error)
}

// Timeouts bound how long the cluster waits for what.
type Timeouts struct {
	// Heartbeat without which a follower calls an election, and without which
	// a leader steps down. Must exceed the worst fsync of a healthy disk,
	// because heartbeats wait for it. Default 1 s.
	Heartbeat time.Duration
	// Owner is for how long an owner may be silent before it is replaced. Default 3 s.
	Owner time.Duration
	// Ping is how often nodes call each other. Default 250 ms.
	Ping time.Duration
	// Rebalance is how often one group may move to a node that owns fewer. Default 10 s.
	Rebalance time.Duration
	// Attempt bounds one try of a proposal before it is sent again. Default 3 s.
	Attempt time.Duration
	// Hang is how long one operation of the log store may take before the
	// node gives up (OnFatal). Default 20 s.
	Hang time.Duration
	// Checkpoint is how often the leader lets all nodes compare the checksums
	// of their logs. Default 1 min.
	Checkpoint time.Duration
	// SnapshotEvery is how many log entries make a snapshot. Default 16384.
	SnapshotEvery uint64
}

func (o *Options) defaults() error {
	if err := redoubt.ValidName("node", string(o.ID)); err != nil {
		return err
	}
	if o.Advertise == "" || o.Dir == "" || o.Dial == nil || o.RaftListener == nil || o.RPC == nil || o.Pool == nil {
		return invalid("open cluster node", string(o.ID), "an option is missing")
	}
	if o.Domain != "" {
		if err := redoubt.ValidName("domain", o.Domain); err != nil {
			return err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.OnFatal == nil {
		o.OnFatal = func(error) {}
	}
	if o.LevelLeast == 0 {
		o.LevelLeast = 1 << 30
	}
	t := &o.Timeouts
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&t.Heartbeat, time.Second)
	set(&t.Owner, 3*time.Second)
	set(&t.Ping, 250*time.Millisecond)
	set(&t.Rebalance, 10*time.Second)
	set(&t.Attempt, 3*time.Second)
	set(&t.Hang, 20*time.Second)
	set(&t.Checkpoint, time.Minute)
	if t.SnapshotEvery == 0 {
		t.SnapshotEvery = 16384
	}
	return nil
}
