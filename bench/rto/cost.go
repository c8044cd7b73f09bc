package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// What a gigabyte of history costs beside its own bytes, by the length of the
// history before it. Everything but the payload has its real size: a segment
// stands for a full delta, with the head and the index entries of one; only the
// bytes of its shards are missing. Index, shard log and catalog do their work one
// after the other, so the counters of this process tell them apart.
const (
	costDelta   = 4 << 20  // bytes of payload that a segment stands for
	costWrite   = 64 << 10 // bytes of a write
	costWrites  = costDelta / costWrite
	costHead    = 96 + 16 + costWrites*48 + costWrites*20 + 8 // bytes of its head, see ship/delta.go
	costShard   = costDelta / dataShards
	costStandIn = 512      // bytes of a shard that are written in its place
	costChunk   = 64 << 10 // a checksum of 4 bytes for each, see target/segment/format.go
	costCommit  = 8        // deltas in a commit: a sender's window
)

// full is a history of full deltas of 64 KiB writes at random places.
type full struct{ history }

// Entries implements index.Heads.
func (h full) Entries(_ context.Context, _ index.Series, ordinal uint64) ([]index.Entry, error) {
	rng := rand.New(rand.NewPCG(ordinal, h.size))
	out := make([]index.Entry, costWrites)
	for i := range out {
		out[i] = index.Entry{LSN: redoubt.LSN(ordinal*costWrites + uint64(i) + 1), Disk: disk, Block: uint32(i), CRC: rng.Uint32(),
			Extent: redoubt.Extent{Off: rng.Uint64N(h.size/costWrite) * costWrite, Len: costWrite}}
	}
	return out, nil
}

// counted is what a part of the work took.
type counted struct{ bytes, cpu float64 }

// count runs fn and returns what this process wrote and computed meanwhile.
func count(fn func() error) (counted, error) {
	before, err := spent()
	if err != nil {
		return counted{}, err
	}
	if err := fn(); err != nil {
		return counted{}, err
	}
	after, err := spent()
	return counted{after.bytes - before.bytes, after.cpu - before.cpu}, err
}

// spent returns the bytes of all write calls of this process, and its CPU seconds.
func spent() (c counted, err error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return c, err
	}
	for _, line := range strings.Split(string(b), "\n") {
		if v, ok := strings.CutPrefix(line, "wchar: "); ok {
			if c.bytes, err = strconv.ParseFloat(v, 64); err != nil {
				return c, err
			}
		}
	}
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return c, err
	}
	c.cpu = float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9
	return c, nil
}

// costs prints what a node spends on histories that stand for so many GB.
func costs(ctx context.Context, o options, w io.Writer) error {
	fmt.Fprintln(w, "| GB of history | segments | index: bytes per byte | CPU ms/GB | shard log beside the payload: bytes per byte | CPU ms/GB | Raft: bytes per byte | CPU ms/GB | in all: bytes per byte | CPU ms/GB |\n|---|---|---|---|---|---|---|---|---|---|")
	for _, gb := range o.cost {
		if err := costOf(ctx, o, gb, w); err != nil {
			return fmt.Errorf("history of %d GB: %w", gb, err)
		}
	}
	return nil
}

func costOf(ctx context.Context, o options, gb uint64, w io.Writer) (err error) {
	dir, err := os.MkdirTemp(o.dir, "cost")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	h := full{*newHistory((gb*1e9+costDelta-1)/costDelta, 1<<40)}
	s, err := site.New(ctx, site.Options{BinDir: o.bin, Dir: filepath.Join(dir, "s"), Group: string(group), Disks: []site.Disk{{Name: diskName, Path: "/none"}}})
	if err != nil {
		return err
	}
	ix, err := count(func() error { return costIndex(ctx, dir, h) })
	if err != nil {
		return err
	}
	lg, err := count(func() error { return costLog(ctx, dir, h) })
	if err != nil {
		return err
	}
	// Put in: the checksums of the chunks that were not there. Taken out: what stood in.
	lg.bytes += float64(h.segments) * (4*(costShard/costChunk-1) - costStandIn)
	ra, err := count(func() error { return costCatalog(ctx, s, h) })
	if err != nil {
		return err
	}
	n := float64(len(s.Targets))
	ra.bytes, ra.cpu = ra.bytes/n, ra.cpu/n // they all ran in this process
	payload := float64(h.segments) * costDelta
	row := fmt.Sprintf("| %d | %d |", gb, h.segments)
	for _, c := range []counted{ix, lg, ra, {ix.bytes + lg.bytes + ra.bytes, ix.cpu + lg.cpu + ra.cpu}} {
		row += fmt.Sprintf(" %.5f | %.1f |", c.bytes/payload, c.cpu*1e3/(payload/1e9))
	}
	_, err = fmt.Fprintln(w, row)
	return err
}

// costIndex merges the runs, as while the history was taken in.
func costIndex(ctx context.Context, dir string, h full) error {
	x, err := index.Open(filepath.Join(dir, "index"), index.Options{FS: unsynced{vfs.OS}, Heads: h})
	if err != nil {
		return err
	}
	for n := uint64(costCommit); ; n += costCommit {
		x.Add(index.Series{Group: group, UUID: uuid, Epoch: 1}, min(n, h.segments))
		if n >= h.segments {
			return errors.Join(x.Settle(ctx), x.Close())
		}
	}
}

// costLog stores a shard of each segment: a node has one of each at 2+1 on three nodes.
func costLog(ctx context.Context, dir string, h full) error {
	l, err := segment.Open(filepath.Join(dir, "shards"), segment.Options{FS: unsynced{vfs.OS}})
	if err != nil {
		return err
	}
	var g errgroup.Group
	for w := range uint64(costCommit) {
		g.Go(func() error {
			head, data := make([]byte, costHead), make([]byte, costStandIn)
			for i := w; i < h.segments; i += costCommit {
				id := segment.ID{Group: group, UUID: uuid, Epoch: 1, Ordinal: i, CRC: uint32(i)}
				if err := l.Put(ctx, &segment.Shard{ID: id, K: dataShards, M: parityShards, Size: costDelta, Head: head, Data: data}); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return errors.Join(g.Wait(), l.Close())
}

// costCatalog commits the segments through Raft, at three nodes in this process.
func costCatalog(ctx context.Context, s *site.Site, h full) (err error) {
	c, err := openCatalog(ctx, s, &h.history)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var segs []catalog.Segment
	for i := range h.segments {
		sg := catalog.Segment{Epoch: 1, Ordinal: i, First: redoubt.LSN(i*costWrites + 1), Last: redoubt.LSN((i + 1) * costWrites),
			FirstTime: h.time(i), LastTime: h.time(i), Size: costDelta + costHead, HeadLen: costHead, ShardSize: (costDelta + costHead + 1) / dataShards,
			K: dataShards, M: parityShards, CRC: uint32(i), Stored: 1<<(dataShards+parityShards) - 1}
		for k := range s.Targets {
			sg.Nodes = append(sg.Nodes, redoubt.NodeID(s.Targets[(int(i)+k)%len(s.Targets)].Name))
		}
		if segs = append(segs, sg); len(segs) == costCommit || i+1 == h.segments {
			if err := c.commit(ctx, segs); err != nil {
				return err
			}
			segs = nil
		}
	}
	return nil
}
