package repair

import (
	"context"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// mover takes over the shards that the catalog plans to move here, and lets go
// of those that have moved elsewhere. One goroutine does both, so that a shard
// that is planned to come back is never deleted after it was found here.
type mover struct {
	r    *Repairer
	away uint64 // how far the node's own log was tidied, by NodeInfo.Away
	tidy bool   // since the start
}

const (
	moveBatch    = 64 // shards that become known as stored with one proposal
	moveParallel = 4  // shards that are fetched at once
)

func (m *mover) loop() {
	r := m.r
	t := time.NewTicker(r.o.Tick)
	defer t.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-t.C:
		}
		if r.o.Log.Err() != nil {
			continue // it takes no shards, and no deletes either
		}
		in := r.o.Catalog.MovesTo(r.o.Self, catalog.MaxBatch)
		for len(in) > 0 && r.ctx.Err() == nil {
			n := min(len(in), moveBatch)
			m.takeOver(in[:n])
			in = in[n:]
		}
		m.letGo()
	}
}

// takeOver makes shards that shall come here durable and tells the cluster.
func (m *mover) takeOver(in []catalog.Incoming) {
	r := m.r
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, moveParallel)
	done := catalog.FinishMoves{Node: r.o.Self}
	for i := range in {
		if r.ctx.Err() != nil {
			break
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if m.fetch(&in[i]) {
				mu.Lock()
				done.Shards = append(done.Shards, catalog.ShardOf{ShardRef: in[i].ShardRef, CRC: in[i].Segment.CRC})
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(done.Shards) == 0 || r.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(r.ctx, tellTimeout)
	defer cancel()
	if _, err := r.o.Cluster.Propose(ctx, done); err != nil && r.ctx.Err() == nil {
		r.o.Logger.Warn("moved shards not recorded; tried again", "shards", len(done.Shards), "err", err)
	}
}

// fetch gets the shard from its present home, or computes it from others.
func (m *mover) fetch(in *catalog.Incoming) bool {
	r := m.r
	sr := index.Series{Group: in.Group, UUID: in.UUID, Epoch: in.Epoch}
	sg, i := &in.Segment, int(in.Shard)
	id := shards.ID(sr, sg, i)
	if has, err := r.o.Log.Has(id); err != nil || has {
		return has
	}
	if r.o.Shards.WorthAsking(sg, i) {
		if err := r.pace.Wait(r.ctx, int64(sg.ShardSize)); err != nil {
			return false
		}
		if err := m.copyShard(sr, sg, i, id); err == nil {
			r.moved.Add(1)
			r.movedBytes.Add(uint64(sg.ShardSize))
			return true
		} else if r.ctx.Err() == nil {
			r.o.Logger.Debug("shard not copied from its home; it is rebuilt", "segment", shards.SegmentName(sr, sg.Ordinal), "shard", i, "node", in.From, "err", err)
		}
	}
	err := r.rebuildShard(r.ctx, sr, sg, i)
	if err != nil && r.ctx.Err() == nil {
		r.o.Logger.Debug("moving shard not rebuilt; tried again", "segment", shards.SegmentName(sr, sg.Ordinal), "shard", i, "err", err)
	}
	return err == nil
}

func (m *mover) copyShard(sr index.Series, sg *catalog.Segment, i int, id segment.ID) error {
	r := m.r
	head, err := r.o.Shards.Head(r.ctx, sr, sg)
	if err != nil {
		return err
	}
	b, err := r.o.Shards.ReadShard(r.ctx, sr, sg, i, 0, sg.ShardSize)
	if err != nil {
		return err
	}
	return r.o.Log.Put(r.ctx, &segment.Shard{ID: id, K: sg.K, M: sg.M, Size: sg.Size, Head: head.Encoded(), Data: b})
}

// letGo deletes the shards that have a home elsewhere now. It looks at the
// whole log, but only after something went away.
func (m *mover) letGo() {
	r := m.r
	me, _ := r.o.Catalog.Node(r.o.Self)
	if m.tidy && me.Away == m.away || me.Away == 0 {
		return
	}
	var gone []segment.ID
	err := r.o.Log.Each(func(info segment.Info) bool {
		ref := catalog.ShardRef{Group: info.ID.Group, Epoch: info.ID.Epoch, Ordinal: info.ID.Ordinal, Shard: info.ID.Shard}
		if holds, known := r.o.Catalog.Holds(r.o.Self, ref, info.ID.CRC); known && !holds {
			gone = append(gone, info.ID)
		}
		return r.ctx.Err() == nil
	})
	if err != nil {
		if r.ctx.Err() == nil {
			r.o.Logger.Warn("moved shards not looked for; tried again", "err", err)
		}
		return
	}
	for len(gone) > 0 {
		n := min(len(gone), moveBatch)
		if err := r.o.Log.Delete(r.ctx, gone[:n]...); err != nil {
			if r.ctx.Err() == nil {
				r.o.Logger.Warn("moved shards not deleted; tried again", "shards", len(gone), "err", err)
			}
			return
		}
		gone = gone[n:]
	}
	m.tidy, m.away = true, me.Away
}
