package target

import (
	"context"
	"path/filepath"
	"sync"

	"golang.org/x/sync/semaphore"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/gc"
	"github.com/redoubt-dr/redoubt/target/history"
	"github.com/redoubt-dr/redoubt/target/index"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/peers"
	"github.com/redoubt-dr/redoubt/target/repair"
	"github.com/redoubt-dr/redoubt/target/scrub"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
	"github.com/redoubt-dr/redoubt/target/thin"
	"github.com/redoubt-dr/redoubt/target/view"
)

// Store is one node's part of the secondary site. All methods may be called
// concurrently.
type Store struct {
	o       Options
	node    *cluster.Node
	catalog *catalog.Catalog
	log     *segment.Log
	idx     *index.Index
	peers   *peers.Peers
	shards  *shards.Site
	repair  *repair.Repairer
	scrub   *scrub.Scrubber
	garbage *gc.Collector
	views   *view.Reader
	history *history.History
	thin    *thin.Thinner
	leases  *thin.Leases

	comparing *pace.Pacer // reads for comparisons

	room    *semaphore.Weighted // bytes of pending deltas
	kick    chan struct{}       // wakes the committer
	counter counters

	mu       sync.Mutex
	streams  map[redoubt.GroupID]*stream
	joining  map[redoubt.GroupID]*sync.Mutex // one Hello at a time
	contacts map[redoubt.GroupID]Contact
	closed   bool

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// Open opens the node's store and starts to follow the catalog. The caller
// closes it before the cluster node.
func Open(o Options) (*Store, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	s := &Store{o: o, node: o.Node, catalog: o.Node.Catalog(),
		room: semaphore.NewWeighted(o.PendingBytes), kick: make(chan struct{}, 1),
		streams: map[redoubt.GroupID]*stream{}, joining: map[redoubt.GroupID]*sync.Mutex{}, contacts: map[redoubt.GroupID]Contact{}, leases: thin.NewLeases()}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	var err error
	if s.log, err = segment.Open(filepath.Join(o.Dir, "shards"), segment.Options{FS: o.FS, Logger: o.Logger, FileSize: o.LogFileSize, CacheBytes: o.ListBytes}); err != nil {
		return nil, err
	}
	s.idx, err = index.Open(filepath.Join(o.Dir, "index"), index.Options{FS: o.FS, Logger: o.Logger, Heads: s, Gone: s.firstLeft, Reclaim: o.IndexReclaim, CacheBytes: o.IndexBytes})
	if err != nil {
		s.log.Close()
		return nil, err
	}
	s.peers = peers.New(s.ctx, peers.Options{Self: o.ID, Catalog: s.catalog, Pool: o.Pool, RPC: o.RPC, Logger: o.Logger, Now: o.Now, Tick: o.Tick,
		Back: func() { s.repair.SweepSoon() }, Failed: s.log.Err})
	s.shards = shards.New(shards.Options{Self: o.ID, Log: s.log, Peers: s.peers, Catalog: s.catalog, Cluster: s.node, Logger: o.Logger, HeadBytes: o.HeadBytes,
		Rotten: func(id segment.ID, forget func() error) error { return s.repair.Rotten(id, forget) },
		Help:   func(ctx context.Context, n int64) (func(), error) { return s.repair.Help(ctx, n) }})
	s.repair = repair.New(s.ctx, repair.Options{Self: o.ID, Log: s.log, Shards: s.shards, Catalog: s.catalog, Cluster: s.node, Logger: o.Logger, Tick: o.Tick,
		Most: o.RepairBytes, Bound: o.RepairLag, Lag: s.ingestLag, Give: s.giveWay})
	s.scrub = scrub.New(s.ctx, scrub.Options{Self: o.ID, Dir: o.Dir, FS: o.FS, Log: s.log, Index: s.idx, Catalog: s.catalog, Cluster: s.node, Repair: s.repair,
		Rotten: s.shards.ForgetRotten, Logger: o.Logger, Now: o.Now, Tick: o.Tick, Bytes: o.ScrubBytes, Every: o.ScrubEvery, Grace: o.OrphanGrace})
	s.views = view.New(s.ctx, view.Options{Shards: s.shards, Index: s.idx, Catalog: s.catalog, Logger: o.Logger, CacheBytes: o.CacheBytes, Go: s.runIfOpen})
	s.garbage = gc.New(s.ctx, gc.Options{Self: o.ID, Log: s.log, Catalog: s.catalog, Cluster: s.node, Logger: o.Logger, Tick: o.Tick, Pace: s.repair.Pace()})
	s.history = history.New(history.Options{Catalog: s.catalog, Cluster: s.node, Shards: s.shards, Index: s.idx, Now: o.Now})
	s.thin = thin.New(s.ctx, s.thinning())
	s.comparing = pace.New(s.o.CompareBytes)
	s.serve()
	s.node.GoBy(s.peers)
	s.run(s.commit)
	s.run(s.follow)
	s.repair.Start(s.run)
	s.run(s.scrub.Loop)
	s.run(s.exchangeContacts)
	if s.o.RetainEvery > 0 {
		s.run(s.thin.Loop)
	}
	s.run(s.garbage.Loop)
	s.run(s.peers.Probe)
	return s, nil
}

// giveWay sets the pace of what can wait to a share of what it may take at most.
func (s *Store) giveWay(share float64, why string) {
	s.scrub.Pace().Set(int64(float64(s.o.ScrubBytes)*share), why)
	s.comparing.Set(int64(float64(s.o.CompareBytes)*share), why)
}

func (s *Store) run(fn func()) {
	s.wg.Add(1)
	go func() {
		defer s.wg.Done()
		fn()
	}()
}

// runIfOpen is run for callers that may come while the store closes.
func (s *Store) runIfOpen(fn func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.run(fn)
	return true
}

// Close ends all streams and closes the shard log and the index. Views fail
// with ErrClosed afterwards. Close once the shipping listener takes no more.
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	all := s.streams
	s.streams = map[redoubt.GroupID]*stream{}
	s.mu.Unlock()
	s.cancel()
	for _, st := range all {
		st.fail(&redoubt.Error{Op: "store delta", Object: string(st.group), Err: redoubt.ErrClosed})
	}
	s.wg.Wait()
	err := s.idx.Close()
	if lerr := s.log.Close(); err == nil {
		err = lerr
	}
	return err
}

// Sink takes the streams of the groups that this node owns.
func (s *Store) Sink() ship.Sink { return sink{s} }

// Scrub returns how far the scrub is.
func (s *Store) Scrub() scrub.Stats { return s.scrub.Stats() }

// ScrubNow has a pass begin at once, from the start also if one is under way.
func (s *Store) ScrubNow() error { return s.scrub.Now() }

// Failed says why the node takes no shards, and owns no groups while another may,
// until it is restarted, as far as this one knows: its shard log has failed. "":
// it does.
func (s *Store) Failed(n redoubt.NodeID) string { return s.peers.Failed(n) }

// History says what there is of the groups' pasts.
func (s *Store) History() *history.History { return s.history }

// Retention thins the history, and tells what policies hold and drop.
func (s *Store) Retention() *thin.Thinner { return s.thin }

func (s *Store) group(id redoubt.GroupID) (catalog.Group, error) { return s.history.Group(id) }
