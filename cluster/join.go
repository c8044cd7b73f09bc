package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// register tells the catalog where this node is, again and again until it is
// in: through the leader, or, while it knows none (it is new, or has another
// address than the leader thinks), through any member that it can reach.
func (n *Node) register() {
	me := catalog.NodeInfo{ID: n.o.ID, Addr: n.o.Advertise, Instance: n.self.Instance}
	pause := n.o.Timeouts.Ping
	for n.ctx.Err() == nil {
		err := n.registerOnce(me)
		switch {
		case err == nil:
			return
		case errors.Is(err, redoubt.ErrExists) || errors.Is(err, redoubt.ErrInvalid) || errors.Is(err, redoubt.ErrState):
			n.fatal(err)
			return
		case errors.Is(err, redoubt.ErrNotFound) && len(n.o.Join) > 0:
			n.o.Logger.Warn("waiting to be let in", "error", err, "hint", redoubt.Hint(err))
		default:
			n.o.Logger.Debug("not registered yet", "error", err)
		}
		n.sleep(pause)
		pause = min(2*pause, 2*time.Second)
	}
}

func (n *Node) registerOnce(me catalog.NodeInfo) error {
	ctx, cancel := context.WithTimeout(n.ctx, 10*time.Second)
	defer cancel()
	announce := catalog.AnnounceNode{Node: me, Domain: n.o.Domain}
	if n.hasLeader(ctx) && n.isServer() {
		if _, err := n.Propose(ctx, catalog.PutNode{Node: me}); err != nil {
			return err
		}
		if old, _ := n.catalog.Node(me.ID); old.Domain == n.o.Domain {
			return nil
		}
		_, err := n.Propose(ctx, announce)
		return err
	}
	if err := catalog.Validate(announce); err != nil {
		return err
	}
	body := catalog.EncodeAnnounce(announce)
	last := fail("register node", string(me.ID), fmt.Errorf("no member answers: %w", redoubt.ErrUnavailable), "")
	for _, addr := range n.contacts() {
		_, err := n.o.Pool.Call(ctx, addr, methodAnnounce, body)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, redoubt.ErrNotFound) && n.isServer():
			// A founder, before the first leader.
		case !errors.Is(err, redoubt.ErrUnavailable) && ctx.Err() == nil:
			return err // a member has judged
		default:
			last = err
		}
	}
	return last
}

// hasLeader waits a little for a leader: after a start there is none yet.
func (n *Node) hasLeader(ctx context.Context) bool {
	limit := time.NewTimer(4 * n.o.Timeouts.Heartbeat)
	defer limit.Stop()
	for {
		changed := n.leader.next()
		if _, ok := n.Leader(); ok {
			return true
		}
		if !n.isServer() {
			return false // nobody leads a node that is no member
		}
		select {
		case <-changed:
		case <-limit.C:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

// isServer reports whether this node is in Raft's configuration, as far as it knows.
func (n *Node) isServer() bool {
	servers, _, err := n.servers()
	return err == nil && slices.ContainsFunc(servers, func(s raft.Server) bool { return redoubt.NodeID(s.ID) == n.o.ID })
}

// contacts are the addresses at which members may be found. Raft's
// configuration is known before the catalog is: a node that restarts applies
// its log only when a leader says how far it is committed.
func (n *Node) contacts() []string {
	out := slices.Clone(n.o.Join)
	for _, p := range n.o.Bootstrap {
		out = append(out, p.Addr)
	}
	for _, p := range n.catalog.Nodes() {
		out = append(out, p.Addr)
	}
	if servers, _, err := n.servers(); err == nil {
		for _, s := range servers {
			out = append(out, string(s.Address))
		}
	}
	slices.Sort(out)
	return slices.DeleteFunc(slices.Compact(out), func(a string) bool { return a == n.o.Advertise })
}

func (n *Node) sleep(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-n.ctx.Done():
	}
}

// announce answers a node that says where it is. It speaks for itself only:
// the name is that of its certificate.
func (n *Node) announce(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error) {
	c, err := catalog.DecodeAnnounce(body)
	if err != nil {
		return nil, err
	}
	if peer.Name != string(c.Node.ID) {
		return nil, fail("register node", string(c.Node.ID), fmt.Errorf("%s speaks for it: %w", peer, redoubt.ErrDenied), "a node's name is that of its certificate")
	}
	_, err = n.Propose(ctx, c)
	return nil, err
}

// The answers to askIfKnown.
const (
	unknown  = 0
	member   = 1 // it has been here
	stranger = 2 // there is a cluster, and it is no part of it
)

// askIfKnown refuses to start a node without a log that the others know, or to
// found a cluster where there is one.
func (n *Node) askIfKnown() error {
	var wg sync.WaitGroup
	addrs := n.contacts()
	answers := make([]byte, len(addrs))
	for i, addr := range addrs {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(n.ctx, time.Second)
			defer cancel()
			if b, err := n.o.Pool.Call(ctx, addr, methodKnown, []byte(n.o.ID)); err == nil && len(b) == 1 {
				answers[i] = b[0]
			}
		})
	}
	wg.Wait()
	for i, a := range answers {
		switch {
		case a == member:
			return fail("start cluster node", string(n.o.ID),
				fmt.Errorf("it has no log, but the node at %s knows it: %w", addrs[i], redoubt.ErrExists),
				"is data_dir the right one, and mounted? a node whose folder is lost comes back under a new name: redoubt node replace "+string(n.o.ID)+" NEW")
		case a == stranger && len(n.o.Bootstrap) > 0:
			return fail("found cluster", string(n.o.ID),
				fmt.Errorf("the node at %s belongs to one already: %w", addrs[i], redoubt.ErrInvalid),
				"to join it: redoubt node add "+string(n.o.ID)+" there, and target.join instead of target.bootstrap here")
		}
	}
	return nil
}

// known answers askIfKnown of another node.
func (n *Node) known(_ context.Context, id []byte) ([]byte, error) {
	if node, ok := n.catalog.Node(redoubt.NodeID(id)); ok && node.State != catalog.NodeInvited {
		return []byte{member}, nil
	}
	servers, _, err := n.servers()
	if err != nil || len(servers) == 0 || slices.ContainsFunc(servers, func(s raft.Server) bool { return string(s.ID) == string(id) }) {
		return []byte{unknown}, nil
	}
	return []byte{stranger}, nil
}
