package target

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// The methods that nodes call on one another, beside the peers' own.
const (
	methodPut     = "target.put"     // putRequest, head, shard -> durable
	methodRead    = "target.read"    // readRequest -> verified bytes of a shard
	methodHead    = "target.head"    // readRequest -> verified head
	methodContact = "target.contact" // contacts of the groups that the caller owns
	methodSpace   = "target.space"   // bytes that the node has left
	methodLeases  = "target.leases"  // leaseRequest -> the points of a group that are open
)

type putRequest struct {
	ID      segment.ID
	K, M    uint8
	Size    uint32
	HeadLen uint32
}

type readRequest struct {
	ID     segment.ID
	Off, N uint32
	Repair bool // may wait: other work goes first
}

// serve registers what other nodes may call.
func (s *Store) serve() {
	s.peers.Handle(methodRead, s.serveRead)
	s.peers.Handle(methodHead, s.serveHead)
	s.peers.Handle(methodContact, s.serveContact)
	s.peers.Handle(methodLeases, s.serveLeases)
	s.peers.Handle(methodSpace, s.serveSpace)
	s.peers.HandleBorrowed(methodPut, s.servePut)
	s.peers.Answer()
}

func (s *Store) servePut(ctx context.Context, body []byte) ([]byte, error) {
	var r putRequest
	rest, err := peers.Decode(body, &r)
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
	if _, err := peers.Decode(body, &r); err != nil {
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
	if _, err := peers.Decode(body, &r); err != nil {
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
