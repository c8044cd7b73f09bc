package target

import (
	"log/slog"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/rpc"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Options of a Store. Node, Dir, FS, RPC and Pool are required.
type Options struct {
	Node *cluster.Node
	ID   redoubt.NodeID // this node; default Node.ID()
	Dir  string         // holds the shard log and the index
	FS   vfs.FS
	RPC  *rpc.Server // Open registers the methods target.*
	Pool *rpc.Pool
	// Logger may be nil: no logging.
	Logger *slog.Logger
	Now    func() time.Time // default time.Now

	K, M int // shards of a group whose source asks for no number; default 2+1

	CacheBytes   int64         // bound on inflated blocks in memory; default 128 MiB
	IndexBytes   int64         // bound on index blocks in memory; default 64 MiB
	ListBytes    int64         // bound on what the shard log's files list, in memory; default 16 MiB
	HeadBytes    int64         // bound on parsed heads in memory; default 32 MiB
	PendingBytes int64         // bound on deltas that are not committed yet, over all groups; default 256 MiB
	LogFileSize  int64         // of a shard log file; default 256 MiB
	PutTimeout   time.Duration // after which a node that is needed for redundancy only is given up; default 3 s
	RepairBytes  int64         // bytes a second that repair writes at most, and that it reads here at most for other nodes; default 64 MiB
	RepairLag    time.Duration // how long a delta may wait for its commit before repair gives way; default 1 s
	ScrubBytes   int64         // bytes a second that the scrub reads at most; default 16 MiB, below 0: no scrub
	ScrubEvery   time.Duration // from the beginning of a scrub pass to that of the next; default a week
	CompareBytes int64         // bytes a second that are read at most to be compared with a source; default 256 MiB
	OrphanGrace  time.Duration // how long a shard is kept that no manifest will name; default 1 h
	RetainEvery  time.Duration // interval at which a group's history is thinned; default 1 min; negative: by calls of Retain only
	// Policy is that of groups for which nobody chose one; nil: catalog.DefaultPolicy.
	Policy *catalog.Policy
	Free   func(dir string) (uint64, error) // free bytes of a file system; default statfs

	Tick time.Duration // of repair, contact exchange and probing of nodes that are down; default 500 ms
}

func (o *Options) defaults() error {
	if o.Node == nil || o.Dir == "" || o.FS == nil || o.RPC == nil || o.Pool == nil {
		return &redoubt.Error{Op: "open store", Object: o.Dir, Err: redoubt.ErrInvalid, Hint: "an option is missing"}
	}
	if o.ID == "" {
		o.ID = o.Node.ID()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Free == nil {
		o.Free = freeSpace
	}
	if o.K == 0 {
		o.K, o.M = 2, 1
	}
	set := func(v *int64, n int64) {
		if *v <= 0 {
			*v = n
		}
	}
	set(&o.CacheBytes, 128<<20)
	set(&o.IndexBytes, 64<<20)
	set(&o.ListBytes, 16<<20)
	set(&o.HeadBytes, 32<<20)
	set(&o.PendingBytes, 256<<20)
	set(&o.LogFileSize, 256<<20)
	set(&o.RepairBytes, 64<<20)
	set(&o.CompareBytes, 256<<20)
	if o.PutTimeout <= 0 {
		o.PutTimeout = 3 * time.Second
	}
	if o.RetainEvery == 0 {
		o.RetainEvery = time.Minute
	}
	if o.RepairLag <= 0 {
		o.RepairLag = time.Second
	}
	if o.ScrubBytes == 0 {
		o.ScrubBytes = 16 << 20
	}
	if o.ScrubEvery <= 0 {
		o.ScrubEvery = 7 * 24 * time.Hour
	}
	if o.OrphanGrace <= 0 {
		o.OrphanGrace = time.Hour
	}
	if o.Tick <= 0 {
		o.Tick = 500 * time.Millisecond
	}
	return nil
}
