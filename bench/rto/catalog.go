package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
)

// committer is the site's cluster in this process, without stores: it commits
// the generated manifests through Raft, into the logs that the daemons read.
type committer struct {
	nodes []*cluster.Node
	undo  []func() error
	term  uint64
}

func openCatalog(ctx context.Context, s *site.Site, h *history) (c *committer, err error) {
	c = &committer{}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.close())
		}
	}()
	var peers []cluster.Peer
	for _, n := range s.Targets {
		peers = append(peers, cluster.Peer{ID: redoubt.NodeID(n.Name), Addr: n.Addr})
	}
	for _, n := range s.Targets {
		if err := c.open(n, peers); err != nil {
			return c, err
		}
	}
	for len(c.nodes[0].Catalog().Nodes()) < len(peers) {
		changed := c.nodes[0].Catalog().Changed()
		if len(c.nodes[0].Catalog().Nodes()) == len(peers) {
			break
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
	if err := c.nodes[0].Barrier(ctx); err != nil {
		return c, err
	}
	if g, ok := c.nodes[0].Catalog().Group(group); ok { // of a run before
		c.term = g.OwnerTerm
		return c, nil
	}
	v, err := c.nodes[0].Propose(ctx, catalog.CreateGroup{ID: group, UUID: uuid, Source: s.Source.Name, K: dataShards, M: parityShards,
		Disks: []redoubt.Disk{{ID: disk, Name: diskName, Size: h.size}}, Now: h.start})
	if err != nil {
		return c, err
	}
	g, ok := v.(catalog.Group)
	if !ok {
		return c, fmt.Errorf("no group: %T", v)
	}
	c.term = g.OwnerTerm
	// Every write is kept, or the history would be thinned while it is measured.
	_, err = c.nodes[0].Propose(ctx, catalog.SetPolicy{Group: group, Policy: catalog.Policy{Every: 10 * 365 * 24 * time.Hour}})
	return c, err
}

func (c *committer) open(n *site.Node, peers []cluster.Peer) error {
	cred, err := pki.Load(filepath.Join(n.Dir, "id"))
	if err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	mux, err := netmux.Listen(n.Addr, cred, log)
	if err != nil {
		return err
	}
	c.undo = append(c.undo, mux.Close)
	dial := func(ctx context.Context, addr, proto string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, proto, cred, pki.RoleTarget)
	}
	calls := rpc.NewServer(log)
	pool := rpc.NewPool(func(ctx context.Context, addr string) (net.Conn, error) { return dial(ctx, addr, netmux.ProtoPeer) })
	c.undo = append(c.undo, pool.Close, calls.Close)
	l := mux.Listener(netmux.ProtoPeer, pki.RoleTarget)
	go func() { _ = calls.Serve(l) }() // ends with Close
	node, err := cluster.Open(cluster.Options{ID: redoubt.NodeID(n.Name), Advertise: n.Addr, Dir: filepath.Join(n.Dir, "data", "cluster"),
		Bootstrap: peers, Dial: dial, RaftListener: mux.Listener(netmux.ProtoRaft, pki.RoleTarget), RPC: calls, Pool: pool, Logger: log,
		Timeouts: cluster.Timeouts{Heartbeat: 2 * time.Second, Owner: time.Hour, Hang: time.Minute, SnapshotEvery: 64}})
	if err != nil {
		return err
	}
	c.undo = append(c.undo, node.Close)
	c.nodes = append(c.nodes, node)
	return nil
}

func (c *committer) commit(ctx context.Context, segs []catalog.Segment) error {
	v, err := c.nodes[0].Propose(ctx, catalog.CommitSegments{Batches: []catalog.SegmentBatch{{Group: group, Epoch: 1, OwnerTerm: c.term, Segments: segs}}})
	if err != nil {
		return err
	}
	r, ok := v.([]catalog.CommitResult)
	if !ok || len(r) != 1 {
		return fmt.Errorf("no answer to a commit: %T", v)
	}
	return r[0].Err
}

// close lets all nodes catch up, so that each has the whole catalog, most of it
// in a snapshot, as after a long life.
func (c *committer) close() error {
	var err error
	for _, n := range c.nodes {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		err = errors.Join(err, n.Barrier(ctx), n.Snapshot())
		cancel()
	}
	for i := len(c.undo) - 1; i >= 0; i-- {
		err = errors.Join(err, c.undo[i]())
	}
	c.undo = nil
	return err
}
