package main

import (
	"context"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// compared sends a comparison to the role that answers it: a source is answered
// by the store, a master target by the disks that follow it.
type compared struct {
	store compare.Store // nil without the role target
	disks compare.Store // nil without the role source
}

func (c *compared) by(peer pki.Identity) (compare.Store, error) {
	st := c.store
	if peer.Role == pki.RoleTarget {
		st = c.disks
	}
	if st == nil {
		return nil, &redoubt.Error{Op: "compare with this node", Object: peer.String(), Err: redoubt.ErrState,
			Hint: "the node does not have the role for it; check the addresses in redoubtd.yaml"}
	}
	return st, nil
}

// OpenImage implements compare.Store.
func (c *compared) OpenImage(ctx context.Context, peer pki.Identity, a compare.Ask) (compare.Image, error) {
	st, err := c.by(peer)
	if err != nil {
		return nil, err
	}
	return st.OpenImage(ctx, peer, a)
}

// Note implements compare.Store.
func (c *compared) Note(ctx context.Context, peer pki.Identity, id redoubt.GroupID, r compare.Record) error {
	st, err := c.by(peer)
	if err != nil {
		return err
	}
	return st.Note(ctx, peer, id, r)
}

func serveComparisons(n *node, c *compared) (stop func() error) {
	srv := compare.NewServer(c, n.log)
	l := n.mux.Listener(netmux.ProtoCompare, pki.RoleSource, pki.RoleTarget)
	go n.report("comparisons", func() error { return srv.Serve(l) })
	return srv.Close
}
