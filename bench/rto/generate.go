package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

const (
	dataShards, parityShards = 2, 1
	writers                  = 128 // shards that wait for the log at the same time
)

// unsynced is a file system whose files are not made durable: what is
// generated needs to outlive no power cut.
type unsynced struct{ vfs.FS }

type unsyncedFile struct{ vfs.File }

func (f unsyncedFile) Sync() error         { return nil }
func (unsynced) SyncDir(string) error      { return nil }
func storeDir(n *site.Node) string         { return filepath.Join(n.Dir, "data", "target") }
func folder(n *site.Node, s string) string { return filepath.Join(storeDir(n), s) }

func (u unsynced) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := u.FS.OpenFile(name, flag, perm)
	if err != nil {
		return nil, err
	}
	return unsyncedFile{f}, nil
}

// generate fills the nodes' data folders: shards, manifests and index. What is
// there already stays. After within it stops, if that is not 0, with an error that says so.
func generate(ctx context.Context, s *site.Site, h *history, within time.Duration) error {
	done, err := complete(s)
	if err != nil || done {
		return err
	}
	if within > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, within, errNotDone)
		defer cancel()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error { return makeIndex(gctx, s, h) })
	g.Go(func() error { return makeSegments(gctx, s, h) })
	if err := g.Wait(); err != nil {
		return errors.Join(err, context.Cause(ctx))
	}
	return os.WriteFile(markOf(s), nil, 0o600)
}

var errNotDone = errors.New("the history is not complete yet; the next call goes on")

// complete reports whether the whole history is there.
func complete(s *site.Site) (bool, error) {
	_, err := os.Stat(markOf(s))
	if errors.Is(err, os.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// markOf is the file that says so.
func markOf(s *site.Site) string { return filepath.Join(s.Dir, "complete") }

// makeIndex merges the runs with the index's own code at the first node; the
// others get the same files.
func makeIndex(ctx context.Context, s *site.Site, h *history) error {
	first := folder(s.Targets[0], "index")
	if err := os.MkdirAll(filepath.Dir(first), 0o700); err != nil {
		return err
	}
	x, err := index.Open(first, index.Options{FS: unsynced{vfs.OS}, Heads: h})
	if err != nil {
		return err
	}
	x.Add(index.Series{Group: group, UUID: uuid, Epoch: 1}, h.segments)
	if err := errors.Join(x.Settle(ctx), x.Close()); err != nil {
		return err
	}
	files, err := filepath.Glob(filepath.Join(first, "*"))
	if err != nil {
		return err
	}
	for _, n := range s.Targets[1:] {
		dir := folder(n, "index")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		for _, f := range files { // sealed: nobody writes them again
			if err := os.Link(f, filepath.Join(dir, filepath.Base(f))); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return nil
}

// makeSegments stores the shards and commits the manifests.
func makeSegments(ctx context.Context, s *site.Site, h *history) (err error) {
	var logs []*segment.Log
	defer func() {
		for _, l := range logs {
			err = errors.Join(err, l.Close())
		}
	}()
	for _, n := range s.Targets {
		if err := os.MkdirAll(storeDir(n), 0o700); err != nil {
			return err
		}
		l, err := segment.Open(folder(n, "shards"), segment.Options{FS: unsynced{vfs.OS}})
		if err != nil {
			return err
		}
		logs = append(logs, l)
	}
	c, err := openCatalog(ctx, s, h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	for from := c.nodes[0].Catalog().SegmentCount(group, 1); from < h.segments; from += catalog.MaxBatch {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		n := min(h.segments-from, catalog.MaxBatch)
		segs := make([]catalog.Segment, n)
		var g errgroup.Group
		for w := range uint64(writers) {
			g.Go(func() error {
				comp := ship.NewCompressor(ship.CodecS2)
				for i := w; i < n; i += writers {
					if err := storeSegment(ctx, s, h, logs, comp, from+i, &segs[i]); err != nil {
						return err
					}
				}
				return nil
			})
		}
		if err := g.Wait(); err != nil {
			return err
		}
		if err := c.commit(ctx, segs); err != nil {
			return err
		}
	}
	return nil
}

func storeSegment(ctx context.Context, s *site.Site, h *history, logs []*segment.Log, c *ship.Compressor, ordinal uint64, out *catalog.Segment) error {
	d, err := h.delta(ordinal, c)
	if err != nil {
		return err
	}
	sg, shards, err := target.Cut(d, ordinal, dataShards, parityShards)
	if err != nil {
		return err
	}
	for i, data := range shards {
		at := (int(ordinal%uint64(len(logs))) + i) % len(logs)
		sg.Nodes = append(sg.Nodes, redoubt.NodeID(s.Targets[at].Name))
		sg.Stored |= 1 << i
		if err := logs[at].Put(ctx, target.ShardOf(d, &sg, uuid, i, data)); err != nil {
			return err
		}
	}
	*out = sg
	return nil
}
