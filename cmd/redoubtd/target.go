package main

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target"
	"github.com/redoubt-dr/redoubt/target/check"
	"github.com/redoubt-dr/redoubt/target/export"
	"github.com/redoubt-dr/redoubt/target/history"
)

// targetRole is a master target: its part of the cluster, its store and what it exports.
type targetRole struct {
	node    *cluster.Node
	store   *target.Store
	exports *export.Manager
	checker *check.Checker
	undo    cleanup
}

func (t *targetRole) close() error { return t.undo.run() }

func openTarget(n *node) (t *targetRole, err error) {
	t = &targetRole{}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
			t = nil
		}
	}()
	c := n.cfg.Target
	id := redoubt.NodeID(n.cfg.Name)
	calls := rpc.NewServer(n.log)
	pool := rpc.NewPool(n.dial(netmux.ProtoPeer, pki.RoleTarget))
	t.undo.add(pool.Close)
	t.undo.add(calls.Close)
	// Before the rooms register their methods: a peer that calls too early gets
	// an answer, not a refused handshake.
	peerCalls := n.mux.Listener(netmux.ProtoPeer, pki.RoleTarget)
	go n.report("peer calls", func() error { return calls.Serve(peerCalls) })

	var peers []cluster.Peer
	for _, b := range c.Bootstrap {
		peers = append(peers, cluster.Peer{ID: b.Name, Addr: b.Address})
	}
	t.node, err = cluster.Open(cluster.Options{
		ID: id, Advertise: n.cfg.Advertise, Dir: filepath.Join(n.cfg.DataDir, "cluster"), Bootstrap: peers, Join: c.Join, Domain: c.Domain,
		Dial: func(ctx context.Context, addr, proto string) (net.Conn, error) {
			return netmux.Dial(ctx, addr, proto, n.cred, pki.RoleTarget)
		},
		RaftListener: n.mux.Listener(netmux.ProtoRaft, pki.RoleTarget),
		RPC:          calls, Pool: pool, Logger: n.log, Timeouts: cluster.Timeouts{Owner: time.Duration(c.OwnerTimeout)},
		OnFatal: func(err error) {
			select {
			case n.fatal <- err:
			default:
			}
		},
	})
	if err != nil {
		return t, err
	}
	t.undo.add(t.node.Close)
	var policy *catalog.Policy
	if c.Retention != "" {
		p, err := catalog.ParsePolicy(c.Retention)
		if err != nil {
			return t, err
		}
		policy = &p
	}
	scrubRate := int64(c.Scrub.Rate)
	if scrubRate == 0 {
		scrubRate = -1 // never
	}
	t.store, err = target.Open(target.Options{
		Node: t.node, ID: id, Dir: filepath.Join(n.cfg.DataDir, "target"), FS: vfs.OS, RPC: calls, Pool: pool,
		Logger: n.log, Policy: policy,
		CacheBytes: int64(c.Cache) * 10 / 16, IndexBytes: int64(c.Cache) * 4 / 16, HeadBytes: int64(c.Cache) / 16, ListBytes: int64(c.Cache) / 16,
		CompareBytes: int64(c.CompareRate), ScrubBytes: scrubRate, ScrubEvery: time.Duration(c.Scrub.Every), RepairBytes: int64(c.Repair.Rate), RepairLag: time.Duration(c.Repair.Lag),
	})
	if err != nil {
		return t, err
	}
	t.undo.add(t.store.Close)
	t.exports, err = export.Open(export.Options{
		ID: id, Node: t.node, Store: t.store,
		Dir: filepath.Join(n.cfg.DataDir, "exports"), RunDir: filepath.Join(n.cfg.RunDir, "export"),
		Hydrate: hydratePolicy(c.Hydrate), HydrateRate: int64(c.HydrateRate),
		DialTarget: n.dial(netmux.ProtoShip, pki.RoleTarget), DialSource: n.dial(netmux.ProtoShip, pki.RoleSource),
		DialCompare: n.dial(netmux.ProtoCompare, pki.RoleSource),
		Logger:      n.log,
	})
	if err != nil {
		return t, err
	}
	t.undo.add(t.exports.Close)
	t.checker, err = openChecker(n, t)
	if err != nil {
		return t, err
	}
	t.undo.add(t.checker.Close)
	return t, nil
}

func openChecker(n *node, t *targetRole) (*check.Checker, error) {
	c := n.cfg.Target.Checks
	o := check.Options{
		Node: t.node, Store: t.store, Exports: t.exports, Credentials: n.cred, Name: n.cfg.Name, Dir: filepath.Join(n.cfg.DataDir, "checks"),
		Scripts: hook.Dir(c.Scripts), Time: time.Duration(c.Time), Logger: n.log,
	}
	for _, s := range c.Schedule {
		at, err := history.ParsePoint(s.At)
		if err != nil {
			return nil, err
		}
		o.Schedule = append(o.Schedule, check.Scheduled{Group: redoubt.GroupID(s.Group), Script: s.Script, At: at, Every: time.Duration(s.Every), NoHash: !s.Hash})
	}
	return check.Open(o)
}

// hydratePolicy reads target.hydrate, which was checked.
func hydratePolicy(s string) export.HydratePolicy {
	if s == "none" {
		return export.HydrateNone
	}
	return export.HydratePolicy(s)
}
