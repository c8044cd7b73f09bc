package plan

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// Cluster is what a Driver needs of *cluster.Node.
type Cluster interface {
	Propose(ctx context.Context, cmd catalog.Command) (any, error)
	Barrier(ctx context.Context) error
	Catalog() *catalog.Catalog
	Alive(id redoubt.NodeID) bool
	IsLeader() bool
}

// Site does to the groups and nodes what the steps of a run say. Every method
// may be called again for the same step, after a crash or by another node, while
// an earlier call may still be under way elsewhere; it then ends in the same state.
// Calls end soon after their context. They may be concurrent.
type Site interface {
	// Move opens a group as a test, fails it over or back, and returns what it
	// opened.
	Move(ctx context.Context, m Move) ([]Disk, error)
	// Close takes a Move back: it ends the tests of the run, or gives the group
	// back to its source if the run failed it over and that is not committed.
	Close(ctx context.Context, m Move) (note string, err error)
	// Script runs a script to its end. The output is returned also with an error.
	Script(ctx context.Context, s Script) (Output, error)
}

// Move is a group step.
type Move struct {
	Run       string // PLAN/NUMBER
	Group     redoubt.GroupID
	Kind      catalog.RunKind
	Direction catalog.RunDirection
	Point     string         // as package admin reads it
	Node      redoubt.NodeID // that opens it; empty for a failback
	Hydrate   bool
	Before    redoubt.Epoch // the group's epoch before the first attempt
	Attempt   uint64        // how often it was begun, at Node the last time
	By        string        // who started the run
}

// Disk is a disk that a group step opened.
type Disk struct {
	Group    redoubt.GroupID
	Name     string
	Node     string // where URI can be reached
	URI      string // NBD
	Position string
	Time     time.Time // of the last write at Position
}

// Script is a script step.
type Script struct {
	Run, Step string
	Node      redoubt.NodeID // a master target, or a source
	Name      string
	Args, Env []string
	Limit     time.Duration
	Leave     bool
}

// Output is what a step wrote.
type Output struct {
	Tail   []byte // the last bytes of it
	Bytes  uint64 // all that it wrote
	Digest []byte // SHA-256 of all that it wrote
}
