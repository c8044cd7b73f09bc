package repair

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// rebuildShard computes shard want from k others, checks the whole delta against
// its checksum, and stores the shard in this node's log. It goes no faster than
// ingest allows.
func (r *Repairer) rebuildShard(ctx context.Context, sr index.Series, sg *catalog.Segment, want int) error {
	if err := r.pace.Wait(ctx, int64(sg.ShardSize)); err != nil {
		return err
	}
	head, err := r.o.Shards.Head(ctx, sr, sg)
	if err != nil {
		return err
	}
	all, err := r.whole(ctx, sr, sg, want)
	if err != nil {
		return err
	}
	if err := r.o.Shards.Reconstruct(all, int(sg.K), int(sg.M), want); err != nil {
		return err
	}
	if err := r.o.Log.Put(ctx, &segment.Shard{ID: shards.ID(sr, sg, want), K: sg.K, M: sg.M, Size: sg.Size, Head: head.Encoded(), Data: all[want]}); err != nil {
		return err
	}
	r.repaired.Add(1)
	r.repairedBytes.Add(uint64(sg.ShardSize))
	return nil
}

// whole returns all data shards of a segment, checked against the
// delta's checksum, without reading the shard skip. If the shards it got first
// do not match, it tries without each of them.
func (r *Repairer) whole(ctx context.Context, sr index.Series, sg *catalog.Segment, skip int) ([][]byte, error) {
	var last error
	for leave := -1; leave < int(sg.K)+int(sg.M); leave++ {
		if leave == skip {
			continue
		}
		all, err := r.collect(ctx, sr, sg, func(i int) bool { return i == skip || i == leave })
		if err != nil {
			if leave == -1 {
				return nil, err
			}
			continue
		}
		var enc bytes.Buffer
		for i := range int(sg.K) {
			if err := r.o.Shards.Reconstruct(all, int(sg.K), int(sg.M), i); err != nil {
				return nil, err
			}
			enc.Write(all[i])
		}
		if b := enc.Bytes(); redoubt.Checksum(b[:sg.Size]) == sg.CRC {
			return all, nil
		}
		last = fmt.Errorf("segment %s does not match its checksum: %w", shards.SegmentName(sr, sg.Ordinal), redoubt.ErrCorrupt)
	}
	return nil, last
}

// Delta reads a segment's delta and checks it against the manifest. If what it got
// first does not match, it tries without each shard.
func (r *Repairer) Delta(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	b, err := r.o.Shards.ReadRange(ctx, sr, sg, 0, sg.Size, nil)
	if err != nil {
		return nil, err
	}
	if redoubt.Checksum(b) != sg.CRC {
		all, err := r.whole(ctx, sr, sg, -1)
		if err != nil {
			return nil, err
		}
		b = bytes.Join(all[:sg.K], nil)[:sg.Size]
	}
	return ship.Parse(b)
}

// helpTimeout bounds the read of a whole shard from a helper, which may let us
// wait for its own ingest. A slow helper is not a dead one.
const helpTimeout = time.Minute

// collect reads any k whole shards but the ones to skip, k at a time, from the
// helpers that this node reads the least from. Those that seem down come last.
func (r *Repairer) collect(ctx context.Context, sr index.Series, sg *catalog.Segment, skip func(int) bool) ([][]byte, error) {
	shards := make([][]byte, int(sg.K)+int(sg.M))
	type answer struct {
		i   int
		b   []byte
		err error
	}
	answers := make(chan answer, len(shards))
	order := r.helpers(sg, skip)
	asked, have, open := 0, 0, 0
	var last error
	ask := func() {
		i := order[asked]
		asked++
		open++
		go func() {
			b, err := r.readFrom(ctx, sr, sg, i)
			answers <- answer{i, b, err}
		}()
	}
	for have < int(sg.K) {
		for asked < len(order) && open < int(sg.K)-have {
			ask()
		}
		if open == 0 {
			return nil, fmt.Errorf("%d of %d shards: %w: %w", have, sg.K, redoubt.ErrUnavailable, last)
		}
		a := <-answers
		open--
		if a.err != nil {
			last = fmt.Errorf("shard %d on %s: %w", a.i, sg.Nodes[a.i], a.err)
			continue
		}
		shards[a.i] = a.b
		have++
	}
	return shards, nil
}

// helpers lists the shards to ask for, the best first: on nodes that are up and
// said to have it, the least read from now, and by turns, so that several nodes
// that repair the same history do not all ask the same.
func (r *Repairer) helpers(sg *catalog.Segment, skip func(int) bool) []int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := uint64(len(sg.Nodes))
	var out []int
	for i := range sg.Nodes {
		if !skip(i) {
			out = append(out, i)
		}
	}
	rank := func(i int) int {
		if r.o.Shards.WorthAsking(sg, i) {
			return 0
		}
		return 1
	}
	turn := func(i int) uint64 { return (uint64(i) + sg.Ordinal) % n }
	slices.SortFunc(out, func(a, b int) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(r.reads[sg.Nodes[a]], r.reads[sg.Nodes[b]]), cmp.Compare(turn(a), turn(b)))
	})
	return out
}

// readFrom reads a whole shard, verified by the node that holds it.
func (r *Repairer) readFrom(ctx context.Context, sr index.Series, sg *catalog.Segment, i int) ([]byte, error) {
	node := sg.Nodes[i]
	if node == r.o.Self {
		return r.o.Shards.ReadForRepair(ctx, sr, sg, i)
	}
	count := func(n int) {
		r.mu.Lock()
		r.reads[node] += n
		r.mu.Unlock()
	}
	count(1)
	defer count(-1)
	ctx, cancel := context.WithTimeout(ctx, helpTimeout)
	defer cancel()
	return r.o.Shards.ReadForRepair(ctx, sr, sg, i)
}

// Help lets a read for another node's repair pass: few at a time, and no more
// bytes than this node's own repair might take. release ends the read.
func (r *Repairer) Help(ctx context.Context, n int64) (release func(), err error) {
	select {
	case r.helping <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	release = func() { <-r.helping }
	if err := r.pace.Wait(ctx, n); err != nil {
		release()
		return nil, err
	}
	return release, nil
}
