package shards

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// The methods that nodes call on one another.
const (
	methodPut  = "target.put"  // putRequest, head, shard -> durable
	methodRead = "target.read" // readRequest -> verified bytes of a shard
	methodHead = "target.head" // readRequest -> verified head
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

// Serve registers what other nodes may call.
func (s *Site) Serve() {
	s.o.Peers.HandleLent(methodRead, s.serveRead)
	s.o.Peers.Handle(methodHead, s.serveHead)
	s.o.Peers.HandleBorrowed(methodPut, s.servePut)
}

func (s *Site) servePut(ctx context.Context, body []byte) ([]byte, error) {
	var r putRequest
	rest, err := peers.Decode(body, &r)
	if err != nil {
		return nil, err
	}
	s.ingested.Add(uint64(len(rest)))
	if uint64(r.HeadLen) > uint64(len(rest)) {
		return nil, fmt.Errorf("head of %d bytes in %d: %w", r.HeadLen, len(rest), redoubt.ErrCorrupt)
	}
	err = s.o.Log.Put(ctx, &segment.Shard{ID: r.ID, K: r.K, M: r.M, Size: r.Size, Head: rest[:r.HeadLen], Data: rest[r.HeadLen:]})
	if err == nil {
		crashpoint.Here("target.shard.put")
	}
	return nil, err
}

func (s *Site) serveRead(ctx context.Context, body []byte) (slab.Part, error) {
	var r readRequest
	if _, err := peers.Decode(body, &r); err != nil {
		return slab.Part{}, err
	}
	if r.Repair {
		release, err := s.o.Help(ctx, int64(r.N))
		if err != nil {
			return slab.Part{}, err
		}
		defer release()
	}
	b, err := s.o.Log.ReadPart(r.ID, r.Off, r.N)
	s.noticeRot(r.ID, err)
	return b, err
}

func (s *Site) serveHead(_ context.Context, body []byte) ([]byte, error) {
	var r readRequest
	if _, err := peers.Decode(body, &r); err != nil {
		return nil, err
	}
	b, err := s.o.Log.ReadHead(r.ID)
	s.noticeRot(r.ID, err)
	return b, err
}
