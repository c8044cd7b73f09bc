package shards

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
)

// ReadShard returns a range of one shard, verified by the node that holds it.
func (s *Site) ReadShard(ctx context.Context, sr index.Series, sg *catalog.Segment, i int, off, n uint32) ([]byte, error) {
	b, err := s.readShard(ctx, sr, sg, i, off, n)
	return b.Data, err
}

func (s *Site) readShard(ctx context.Context, sr index.Series, sg *catalog.Segment, i int, off, n uint32) (slab.Part, error) {
	id := ID(sr, sg, i)
	if sg.Nodes[i] == s.o.Self {
		b, err := s.o.Log.ReadPart(id, off, n)
		s.noticeRot(id, err)
		return b, err
	}
	b, err := s.o.Peers.ReadPart(ctx, sg.Nodes[i], methodRead, peers.Encode(readRequest{ID: id, Off: off, N: n}))
	if err == nil && len(b.Data) != int(n) {
		err = fmt.Errorf("%d bytes of %d: %w", len(b.Data), n, redoubt.ErrCorrupt)
	}
	return b, err
}

// ReadForRepair returns all of one shard, verified by the node that holds it, which
// lets other work go first.
func (s *Site) ReadForRepair(ctx context.Context, sr index.Series, sg *catalog.Segment, i int) ([]byte, error) {
	if sg.Nodes[i] == s.o.Self {
		return s.ReadShard(ctx, sr, sg, i, 0, sg.ShardSize)
	}
	b, err := s.o.Peers.Call(ctx, sg.Nodes[i], methodRead, peers.Encode(readRequest{ID: ID(sr, sg, i), N: sg.ShardSize, Repair: true}))
	if err == nil && len(b) != int(sg.ShardSize) {
		err = fmt.Errorf("%d bytes of %d: %w", len(b), sg.ShardSize, redoubt.ErrCorrupt)
	}
	return b, err
}

// ReadRange returns bytes [off, off+n) of the encoded delta. They are a plain
// range of one or two shards; what a node cannot give is computed from k other
// shards. Shards for which avoid says so are not read; avoid may be nil. ErrUnavailable
// if fewer than k shards can be read.
func (s *Site) ReadRange(ctx context.Context, sr index.Series, sg *catalog.Segment, off, n uint32, avoid func(shard int) bool) ([]byte, error) {
	b, err := s.ReadPart(ctx, sr, sg, off, n, avoid)
	return b.Data, err
}

// ReadPart is ReadRange into recycled memory, which the caller frees.
func (s *Site) ReadPart(ctx context.Context, sr index.Series, sg *catalog.Segment, off, n uint32, avoid func(shard int) bool) (slab.Part, error) {
	if uint64(off)+uint64(n) > uint64(sg.Size) || sg.ShardSize == 0 {
		return slab.Part{}, &redoubt.Error{Op: "read segment", Object: SegmentName(sr, sg.Ordinal), Err: fmt.Errorf("range %d+%d of %d bytes: %w", off, n, sg.Size, redoubt.ErrCorrupt)}
	}
	var out []byte
	for end := off + n; off < end; {
		i := int(off / sg.ShardSize)
		from := off % sg.ShardSize
		part := min(end-off, sg.ShardSize-from)
		var b slab.Part
		err := errAvoided
		if (avoid == nil || !avoid(i)) && s.WorthAsking(sg, i) {
			b, err = s.readShard(ctx, sr, sg, i, from, part)
		}
		if err != nil {
			s.decodes.Add(1)
			var derr error
			b = slab.Part{}
			b.Data, derr = s.decode(ctx, sr, sg, i, from, part, avoid)
			if derr != nil && errors.Is(err, errAvoided) && (avoid == nil || !avoid(i)) {
				b, derr = s.readShard(ctx, sr, sg, i, from, part) // its node was thought to be down: the last resort
			}
			if derr != nil {
				return slab.Part{}, &redoubt.Error{Op: "read segment", Object: SegmentName(sr, sg.Ordinal), Err: errors.Join(derr, err), Hint: "fewer than k shards can be read; bring nodes back"}
			}
		}
		if part == n {
			return b, nil // all of it: nothing to join
		}
		if out == nil {
			out = slab.Get(int(n))[:0]
		}
		out = append(out, b.Data...)
		b.Free()
		off += part
	}
	return slab.PartOf(out, out), nil
}

var errAvoided = fmt.Errorf("shard not read: %w", redoubt.ErrUnavailable)

// WorthAsking reports whether the shard's node probably answers.
func (s *Site) WorthAsking(sg *catalog.Segment, i int) bool {
	return sg.Stored&(1<<i) != 0 && s.o.Peers.Answers(sg.Nodes[i])
}

// decode computes a range of shard want from the same range of k others.
func (s *Site) decode(ctx context.Context, sr index.Series, sg *catalog.Segment, want int, off, n uint32, avoid func(int) bool) ([]byte, error) {
	shards, err := s.gather(ctx, sr, sg, off, n, func(i int) bool { return i == want || avoid != nil && avoid(i) })
	if err != nil {
		return nil, err
	}
	if err := s.Reconstruct(shards, int(sg.K), int(sg.M), want); err != nil {
		return nil, err
	}
	return shards[want], nil
}

// gather reads the range of any k shards but the ones to skip, all at once;
// the ones on nodes that seem down are asked only if the others do not do.
func (s *Site) gather(ctx context.Context, sr index.Series, sg *catalog.Segment, off, n uint32, skip func(int) bool) ([][]byte, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		i   int
		b   []byte
		err error
	}
	shards := make([][]byte, int(sg.K)+int(sg.M))
	have := 0
	var errs []error
	for _, likely := range []bool{true, false} {
		answers := make(chan answer, len(shards))
		asked := 0
		for i := range shards {
			// In the second round all others are asked (again): a node that was
			// restarted fails its first call, and may count as up by now.
			if shards[i] != nil || skip(i) || likely && !s.WorthAsking(sg, i) {
				continue
			}
			asked++
			go func() {
				b, err := s.ReadShard(ctx, sr, sg, i, off, n)
				answers <- answer{i, b, err}
			}()
		}
		for range asked {
			a := <-answers
			if a.err != nil {
				errs = append(errs, fmt.Errorf("shard %d on %s: %w", a.i, sg.Nodes[a.i], a.err))
				continue
			}
			shards[a.i] = a.b
			if have++; have == int(sg.K) {
				return shards, nil
			}
		}
	}
	return nil, fmt.Errorf("%d of %d shards: %w: %w", have, sg.K, redoubt.ErrUnavailable, errors.Join(errs...))
}
