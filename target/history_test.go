package target

import (
	"encoding/binary"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/retention"
)

// clock is a clock that tests set.
type clock struct{ ns atomic.Int64 }

func (c *clock) now() time.Time      { return time.Unix(0, c.ns.Load()) }
func (c *clock) add(d time.Duration) { c.ns.Add(int64(d)) }
func (c *clock) set(t time.Time)     { c.ns.Store(t.UnixNano()) }
func day1() time.Time                { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC) }

const (
	feedBlock  = 4 << 10
	feedBlocks = 96
)

// done is one write of a feed: blocks [at, at+n) filled from its LSN.
type written struct {
	time  int64
	at, n int
	zero  bool
}

// feed is a writer at its simplest: it makes deltas with times of its choice
// and hands them to the owner of its group, without a journal and a network.
type feed struct {
	t     *testing.T
	s     *site
	group redoubt.GroupID
	rng   *rand.Rand
	c     *clock
	disk  redoubt.Disk
	more  ship.Hello // what the hello says beside the usual
	all   []written  // all[i] has LSN i+1
	st    ship.Stream
	owner *host

	epoch redoubt.Epoch // of the writes beyond fork; up to it they are of epoch 1
	fork  redoubt.LSN
}

// newFeed begins a group of one disk that the feed writes to, and more disks.
func newFeed(t *testing.T, s *site, c *clock, rng *rand.Rand, more ...redoubt.Disk) *feed {
	f := &feed{t: t, s: s, group: "shop", rng: rng, c: c, epoch: 1, disk: redoubt.Disk{ID: 1, Name: "root", Size: feedBlock * feedBlocks}}
	f.more.Disks = more
	f.connect()
	return f
}

func (f *feed) connect() {
	f.t.Helper()
	h := ship.Hello{Group: f.group, UUID: "u1", Source: "web1", Epoch: 1, Lineage: redoubt.Lineage{{Epoch: 1}}, Disks: append([]redoubt.Disk{f.disk}, f.more.Disks...),
		Joining: f.more.Joining, Gone: f.more.Gone, Head: redoubt.LSN(len(f.all))}
	who := pki.Identity{Role: pki.RoleSource, Name: "web1"}
	_, st, err := f.s.nodes[0].store.Sink().Hello(f.t.Context(), who, h)
	noErr(f.t, err)
	f.owner = f.s.owner(f.group)
	if st == nil {
		_, st, err = f.owner.store.Sink().Hello(f.t.Context(), who, h)
		noErr(f.t, err)
	}
	noErr(f.t, st.Begin(redoubt.LSN(len(f.all)+1)))
	f.st = st
	f.t.Cleanup(f.st.Close)
}

func (f *feed) position(l redoubt.LSN) redoubt.Position {
	if l <= f.fork {
		return redoubt.Position{Epoch: 1, LSN: l}
	}
	return redoubt.Position{Epoch: f.epoch, LSN: l}
}

// data is what the write with that LSN puts into its i-th block.
func (f *feed) data(l redoubt.LSN, i int) []byte {
	rng := rand.New(rand.NewPCG(uint64(l), uint64(i)<<32+uint64(f.position(l).Epoch)))
	b := make([]byte, 0, feedBlock)
	for range feedBlock / 8 {
		b = binary.LittleEndian.AppendUint64(b, rng.Uint64())
	}
	return b
}

// burst commits one delta of n writes, step apart, and waits for it.
func (f *feed) burst(n int, step time.Duration, extra ...redoubt.Write) {
	f.t.Helper()
	b := ship.NewBuilder(f.group, f.epoch, ship.NewCompressor(ship.CodecS2))
	for range n {
		f.c.add(step)
		w := written{time: f.c.now().UnixNano(), at: f.rng.IntN(feedBlocks), zero: f.rng.IntN(12) == 0}
		w.n = 1 + f.rng.IntN(min(4, feedBlocks-w.at))
		f.put(b, w)
	}
	for i := range extra {
		extra[i].LSN, extra[i].Time = redoubt.LSN(len(f.all)+1), f.c.now().UnixNano()
		f.all = append(f.all, written{time: extra[i].Time})
		noErr(f.t, b.Add(&extra[i]))
	}
	f.commit(b)
}

func (f *feed) put(b *ship.Builder, w written) {
	f.t.Helper()
	l := redoubt.LSN(len(f.all) + 1)
	f.all = append(f.all, w)
	rw := redoubt.Write{LSN: l, Time: w.time, Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(w.at) * feedBlock, Len: uint64(w.n) * feedBlock}}
	if w.zero {
		rw.Kind = redoubt.KindZero
	} else {
		for i := range w.n {
			rw.Data = append(rw.Data, f.data(l, i)...)
		}
		rw.CRC = redoubt.Checksum(rw.Data)
	}
	noErr(f.t, b.Add(&rw))
}

func (f *feed) commit(b *ship.Builder) {
	f.t.Helper()
	d, err := b.Finish()
	noErr(f.t, err)
	done := make(chan error, 1)
	f.st.Append(d, func(_ redoubt.Position, err error) { done <- err })
	noErr(f.t, <-done)
}

// baseline writes the whole disk, after which there are points.
func (f *feed) baseline() {
	f.t.Helper()
	b := ship.NewBuilder(f.group, f.epoch, ship.NewCompressor(ship.CodecS2))
	for at := 0; at < feedBlocks; at += 4 {
		f.put(b, written{time: f.c.now().UnixNano(), at: at, n: 4})
	}
	l := redoubt.LSN(len(f.all) + 1)
	f.all = append(f.all, written{time: f.c.now().UnixNano()})
	noErr(f.t, b.Baseline(l, f.c.now().UnixNano(), l))
	f.commit(b)
}

// points are all points that there ever were.
func (f *feed) points() retention.List {
	g, _ := f.owner.node.Catalog().Group(f.group)
	var out retention.List
	for i, w := range f.all {
		if l := redoubt.LSN(i + 1); l >= g.Baseline {
			out = append(out, retention.Point{Position: f.position(l), Time: w.time})
		}
	}
	return out
}

// retained are the points that the catalog offers.
func (f *feed) retained() (out []redoubt.LSN) {
	g, _ := f.owner.node.Catalog().Group(f.group)
	r := f.owner.node.Catalog().Retention(f.group)
	for l := g.Baseline; l <= redoubt.LSN(len(f.all)); l++ {
		if r.Has(f.position(l)) {
			out = append(out, l)
		}
	}
	return out
}

// model calls fn with the LSN that wrote each block as of every LSN, 0 for
// zeros, and the block's number in that write.
func (f *feed) model(fn func(l redoubt.LSN, by []redoubt.LSN, part []int)) {
	by, part := make([]redoubt.LSN, feedBlocks), make([]int, feedBlocks)
	for i, w := range f.all {
		for k := range w.n {
			if by[w.at+k], part[w.at+k] = redoubt.LSN(i+1), k; w.zero {
				by[w.at+k] = 0
			}
		}
		fn(redoubt.LSN(i+1), by, part)
	}
}

// check reads every retained point (every one in stride) whole and returns how
// many bytes of writes the points show, each counted once, and how many bytes
// the writes have of which they show any.
func (f *feed) check(ls []redoubt.LSN, stride int) (unique, whole int64) {
	f.t.Helper()
	want := map[redoubt.LSN]bool{}
	for _, l := range ls {
		want[l] = true
	}
	type piece struct {
		by   redoubt.LSN
		part int
	}
	seen := map[piece]bool{}
	n, got := 0, make([]byte, f.disk.Size)
	f.model(func(l redoubt.LSN, by []redoubt.LSN, part []int) {
		if !want[l] {
			return
		}
		for i := range by {
			if by[i] != 0 {
				seen[piece{by[i], part[i]}] = true
			}
		}
		if n++; n%stride != 0 && l != ls[len(ls)-1] {
			return
		}
		v, err := f.s.nodes[n%len(f.s.nodes)].store.View(f.t.Context(), f.group, f.position(l))
		noErr(f.t, err)
		noErr(f.t, v.ReadAt(1, got, 0))
		noErr(f.t, v.Close())
		for i := range by {
			block := got[i*feedBlock : (i+1)*feedBlock]
			if by[i] == 0 && redoubt.Checksum(block) != redoubt.Checksum(make([]byte, feedBlock)) ||
				by[i] != 0 && redoubt.Checksum(block) != redoubt.Checksum(f.data(by[i], part[i])) {
				f.t.Fatalf("point 1:%d: block %d is not what write %d put there", l, i, by[i])
			}
		}
	})
	writes := map[redoubt.LSN]bool{}
	for p := range seen {
		if !writes[p.by] {
			writes[p.by] = true
			whole += int64(f.all[p.by-1].n) * feedBlock
		}
	}
	return int64(len(seen)) * feedBlock, whole
}

// synced waits until all nodes know what the owner's catalog says.
func (f *feed) synced() {
	f.t.Helper()
	var wg sync.WaitGroup
	for _, h := range f.s.nodes {
		wg.Go(func() { noErr(f.t, h.node.Barrier(f.t.Context())) })
	}
	wg.Wait()
}

// logBytes collects what is dead and returns the size of all shard logs.
func (f *feed) logBytes() (logs, index int64) {
	f.t.Helper()
	for _, h := range f.s.nodes {
		noErr(f.t, h.store.garbage.Collect(f.t.Context()))
		logs += h.store.log.Stats().Bytes
		index += int64(h.store.idx.Stats().Bytes)
	}
	return logs, index
}

func (f *feed) policy(p catalog.Policy) {
	f.t.Helper()
	_, err := f.owner.node.Propose(f.t.Context(), catalog.SetPolicy{Group: f.group, Policy: p})
	noErr(f.t, err)
}
