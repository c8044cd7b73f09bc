package target

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// serve registers what other nodes may call.
func (s *Store) serve() {
	for method, h := range map[string]func(context.Context, []byte) ([]byte, error){
		methodPing:    func(context.Context, []byte) ([]byte, error) { return nil, nil },
		methodRead:    s.serveRead,
		methodHead:    s.serveHead,
		methodContact: s.serveContact,
		methodLeases:  s.serveLeases,
		methodSpace:   s.serveSpace,
	} {
		s.o.RPC.Handle(method, targetsOnly(method, s.open(h)))
	}
	s.o.RPC.HandleBorrowed(methodPut, targetsOnly(methodPut, s.open(s.servePut)))
}

func targetsOnly(method string, h func(context.Context, []byte) ([]byte, error)) rpc.Handler {
	return func(ctx context.Context, peer pki.Identity, body []byte) ([]byte, error) {
		if peer.Role != pki.RoleTarget {
			return nil, &redoubt.Error{Op: "call " + method, Object: peer.String(), Err: redoubt.ErrDenied, Hint: "only nodes of the secondary site may call it"}
		}
		return h(ctx, body)
	}
}

// open refuses calls while the store is closed, so that a node that shares its
// port with other services does not seem alive.
func (s *Store) open(h func(context.Context, []byte) ([]byte, error)) func(context.Context, []byte) ([]byte, error) {
	return func(ctx context.Context, body []byte) ([]byte, error) {
		if s.ctx.Err() != nil {
			return nil, &redoubt.Error{Op: "call store", Object: string(s.o.ID), Err: errors.Join(redoubt.ErrClosed, redoubt.ErrUnavailable)}
		}
		return h(ctx, body)
	}
}

func (s *Store) servePut(ctx context.Context, body []byte) ([]byte, error) {
	var r putRequest
	rest, err := decodeMeta(body, &r)
	if err != nil {
		return nil, err
	}
	s.counter.ingested.Add(uint64(len(rest)))
	if uint64(r.HeadLen) > uint64(len(rest)) {
		return nil, fmt.Errorf("head of %d bytes in %d: %w", r.HeadLen, len(rest), redoubt.ErrCorrupt)
	}
	return nil, s.log.Put(ctx, &segment.Shard{ID: r.ID, K: r.K, M: r.M, Size: r.Size, Head: rest[:r.HeadLen], Data: rest[r.HeadLen:]})
}

func (s *Store) serveRead(ctx context.Context, body []byte) ([]byte, error) {
	var r readRequest
	if _, err := decodeMeta(body, &r); err != nil {
		return nil, err
	}
	if r.Repair {
		release, err := s.repair.help(ctx, int64(r.N))
		if err != nil {
			return nil, err
		}
		defer release()
	}
	b, err := s.log.ReadRange(r.ID, r.Off, r.N)
	s.noticeRot(r.ID, err)
	return b, err
}

func (s *Store) serveHead(_ context.Context, body []byte) ([]byte, error) {
	var r readRequest
	if _, err := decodeMeta(body, &r); err != nil {
		return nil, err
	}
	b, err := s.log.ReadHead(r.ID)
	s.noticeRot(r.ID, err)
	return b, err
}

// noticeRot has a shard that was found rotten, or that the disk cannot read,
// built again. It is forgotten at once: a rotten shard is as good as none.
func (s *Store) noticeRot(id segment.ID, err error) {
	if !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, syscall.EIO) {
		return
	}
	s.forgetRotten(id, err)
}

func (s *Store) forgetRotten(id segment.ID, err error) {
	s.o.Logger.Error("stored shard is rotten; it is rebuilt from the others", "shard", id.String(), "err", err)
	s.counter.rotten.Add(1)
	if err := s.log.Forget(id); err != nil {
		s.o.Logger.Error("rotten shard not forgotten; it is served to nobody, but not rebuilt yet", "shard", id.String(), "err", err)
		return
	}
	s.repair.rebuildShard(id)
}
