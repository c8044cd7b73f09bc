package source

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
)

// Host runs the source role: the protection groups of one host. Its methods
// may be called concurrently.
type Host struct {
	cfg    Config
	groups []*Group
}

// Open opens every configured group and begins to serve its disks. Shipping
// begins with Run. On an error nothing stays open.
func Open(cfg Config) (*Host, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(cfg.RunDir, 0o700); err != nil {
		return nil, err
	}
	cfg.room = &copyRoom{}
	h := &Host{cfg: cfg}
	opened := make([]*Group, len(cfg.Groups))
	var open errgroup.Group
	open.SetLimit(openAtOnce)
	for i, gc := range cfg.Groups {
		open.Go(func() error {
			g, err := openGroup(&h.cfg, gc)
			if err == nil {
				opened[i] = g
			}
			return err
		})
	}
	err := open.Wait()
	for _, g := range opened {
		if g != nil {
			h.groups = append(h.groups, g)
		}
	}
	if err != nil {
		return nil, errors.Join(err, h.Close())
	}
	return h, nil
}

// openAtOnce is how many groups are opened at the same time: most of it is
// waiting for syncs.
const openAtOnce = 16

// Run ships, copies and follows the catalog for all groups until ctx is done.
func (h *Host) Run(ctx context.Context) {
	done := make(chan struct{})
	for _, g := range h.groups {
		go func() {
			g.run(ctx)
			done <- struct{}{}
		}()
	}
	for range h.groups {
		<-done
	}
}

// Group returns the group with the given name.
func (h *Host) Group(id redoubt.GroupID) (*Group, error) {
	i := slices.IndexFunc(h.groups, func(g *Group) bool { return g.cfg.Name == id })
	if i < 0 {
		return nil, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups of this host"}
	}
	return h.groups[i], nil
}

// Groups returns all groups, in the order of the configuration.
func (h *Host) Groups() []*Group { return slices.Clone(h.groups) }

// Close applies what is journaled, syncs the disks and closes everything. Run
// must have returned.
func (h *Host) Close() error {
	var err error
	for _, g := range h.groups {
		err = errors.Join(err, g.close())
	}
	return err
}
