package target

import (
	"context"
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/peers"
)

func segmentName(sr index.Series, ordinal uint64) string {
	return fmt.Sprintf("%s/%d/%d", sr.Group, sr.Epoch, ordinal)
}

// head returns the parsed head of a segment, from memory, this node's shard log
// or a peer; if all copies are gone, from the shards.
func (s *Store) head(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	return s.heads.Load(segmentKey{sr, sg.Ordinal, sg.CRC}, func() (*ship.Delta, int64, error) {
		d, err := s.fetchHead(ctx, sr, sg)
		if err != nil {
			return nil, 0, err
		}
		return d, int64(d.HeadLen()) + int64(len(d.Entries))*72 + 256, nil
	})
}

func (s *Store) fetchHead(ctx context.Context, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	var last error
	try := func(b []byte, err error) *ship.Delta {
		if err == nil {
			var d *ship.Delta
			if d, err = parseHead(b, sr, sg); err == nil {
				return d
			}
		}
		last = err
		return nil
	}
	for i, n := range sg.Nodes {
		if n == s.o.ID {
			id := shardID(sr, sg, i)
			b, err := s.log.ReadHead(id)
			s.noticeRot(id, err)
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
	}
	for _, wantUp := range []bool{true, false} {
		for i, n := range sg.Nodes {
			if n == s.o.ID || s.peers.Up(n) != wantUp || ctx.Err() != nil {
				continue
			}
			b, err := s.peers.Read(ctx, n, methodHead, peers.Encode(readRequest{ID: shardID(sr, sg, i)}))
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
		if wantUp {
			b, err := s.readRange(ctx, sr, sg, 0, sg.HeadLen, nil)
			if d := try(b, err); d != nil {
				return d, nil
			}
		}
	}
	return nil, &redoubt.Error{Op: "read head of segment", Object: segmentName(sr, sg.Ordinal), Err: last, Hint: "are enough nodes up?"}
}

// parseHead parses a head and checks that it is the segment's.
func parseHead(b []byte, sr index.Series, sg *catalog.Segment) (*ship.Delta, error) {
	d, err := ship.ParseHead(b)
	if err != nil {
		return nil, err
	}
	if d.Group != sr.Group || d.Epoch != sg.Epoch || d.First != sg.First || d.Last != sg.Last || d.Size() != int(sg.Size) {
		return nil, fmt.Errorf("head of another segment: %w", redoubt.ErrCorrupt)
	}
	return d, nil
}

// readShard returns a range of one shard, verified by the node that holds it.
func (s *Store) readShard(ctx context.Context, sr index.Series, sg *catalog.Segment, i int, off, n uint32) ([]byte, error) {
	id := shardID(sr, sg, i)
	if sg.Nodes[i] == s.o.ID {
		b, err := s.log.ReadRange(id, off, n)
		s.noticeRot(id, err)
		return b, err
	}
	b, err := s.peers.Read(ctx, sg.Nodes[i], methodRead, peers.Encode(readRequest{ID: id, Off: off, N: n}))
	if err == nil && len(b) != int(n) {
		err = fmt.Errorf("%d bytes of %d: %w", len(b), n, redoubt.ErrCorrupt)
	}
	return b, err
}

// readRange returns bytes [off, off+n) of the encoded delta. They are a plain
// range of one or two shards; what a node cannot give is computed from k other
// shards. Shards for which avoid says so are not read.
func (s *Store) readRange(ctx context.Context, sr index.Series, sg *catalog.Segment, off, n uint32, avoid func(shard int) bool) ([]byte, error) {
	if uint64(off)+uint64(n) > uint64(sg.Size) || sg.ShardSize == 0 {
		return nil, &redoubt.Error{Op: "read segment", Object: segmentName(sr, sg.Ordinal), Err: fmt.Errorf("range %d+%d of %d bytes: %w", off, n, sg.Size, redoubt.ErrCorrupt)}
	}
	var out []byte
	for end := off + n; off < end; {
		i := int(off / sg.ShardSize)
		from := off % sg.ShardSize
		part := min(end-off, sg.ShardSize-from)
		var b []byte
		err := errAvoided
		if (avoid == nil || !avoid(i)) && s.worthAsking(sg, i) {
			b, err = s.readShard(ctx, sr, sg, i, from, part)
		}
		if err != nil {
			s.counter.decodes.Add(1)
			var derr error
			b, derr = s.decode(ctx, sr, sg, i, from, part, avoid)
			if derr != nil && errors.Is(err, errAvoided) && (avoid == nil || !avoid(i)) {
				b, derr = s.readShard(ctx, sr, sg, i, from, part) // its node was thought to be down: the last resort
			}
			if derr != nil {
				return nil, &redoubt.Error{Op: "read segment", Object: segmentName(sr, sg.Ordinal), Err: errors.Join(derr, err), Hint: "fewer than k shards can be read; bring nodes back"}
			}
		}
		if part == n {
			return b, nil // all of it: nothing to join
		}
		if out == nil {
			out = make([]byte, 0, n)
		}
		out = append(out, b...)
		off += part
	}
	return out, nil
}

var errAvoided = fmt.Errorf("shard not read: %w", redoubt.ErrUnavailable)

// worthAsking reports whether the shard's node probably answers.
func (s *Store) worthAsking(sg *catalog.Segment, i int) bool {
	return sg.Stored&(1<<i) != 0 && s.peers.Up(sg.Nodes[i])
}

// decode computes a range of shard want from the same range of k others.
func (s *Store) decode(ctx context.Context, sr index.Series, sg *catalog.Segment, want int, off, n uint32, avoid func(int) bool) ([]byte, error) {
	shards, err := s.gather(ctx, sr, sg, off, n, func(i int) bool { return i == want || avoid != nil && avoid(i) })
	if err != nil {
		return nil, err
	}
	if err := s.coders.reconstruct(shards, int(sg.K), int(sg.M), want); err != nil {
		return nil, err
	}
	return shards[want], nil
}

// gather reads the range of any k shards but the ones to skip, all at once;
// the ones on nodes that seem down are asked only if the others do not do.
func (s *Store) gather(ctx context.Context, sr index.Series, sg *catalog.Segment, off, n uint32, skip func(int) bool) ([][]byte, error) {
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
			if shards[i] != nil || skip(i) || likely && !s.worthAsking(sg, i) {
				continue
			}
			asked++
			go func() {
				b, err := s.readShard(ctx, sr, sg, i, off, n)
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
