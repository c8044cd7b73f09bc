package catalog

import (
	"github.com/redoubt-dr/redoubt"
)

// Limits that hold for everything in the catalog. They are checked before a
// command is proposed and again when it is decoded.
const (
	// MaxShards is the largest K+M of a group or segment.
	MaxShards = 32
	// MaxDisks is the largest number of disks of one group.
	MaxDisks = 1024
	// MaxBatch is the largest number of segments, shards or groups in one command.
	MaxBatch = 4096
	// MaxSegmentSize is the largest encoded delta that one segment holds, in bytes.
	MaxSegmentSize = 256 << 20
	maxNodes       = 1024
	maxLineage     = 1 << 20
	maxAddr        = 512
)

// NodeInfo is what the catalog knows of a master target.
type NodeInfo struct {
	ID   redoubt.NodeID `json:"id"`
	Addr string         `json:"addr"` // host:port where the node listens for everything
	// Instance is a random name that the node made when its folder was
	// created. A node that comes back with the same ID and another Instance
	// has lost its votes and data and is refused.
	Instance string `json:"instance"`
	// Domain is what fails together with the node: a rack, a room. "": the node alone.
	Domain string    `json:"domain,omitempty"`
	State  NodeState `json:"state,omitempty"`
	// Successor gets all shards of a draining node; "": they spread.
	Successor redoubt.NodeID `json:"successor,omitempty"`
	Leave     bool           `json:"leave,omitempty"`   // is removed when it is drained
	Changed   uint64         `json:"changed,omitempty"` // Raft index of its last change of state
	Away      uint64         `json:"away,omitempty"`    // how often a shard, or the plan for one, went from here to another node
}

// Group is a protection group as the catalog knows it. Values that the Catalog
// returns share their slices with it: do not change them.
type Group struct {
	ID         redoubt.GroupID `json:"id"`
	UUID       string          `json:"uuid"`
	Source     string          `json:"source"`      // name of the host that protects the disks
	SourceAddr string          `json:"source_addr"` // where it listens for the reverse direction; may be empty
	Disks      []redoubt.Disk  `json:"disks"`
	K          int             `json:"k"` // data shards of new segments
	M          int             `json:"m"` // parity shards of new segments
	CreatedAt  int64           `json:"created_at"`

	State State `json:"state"`
	// Prior is the state to which Resume and Cancel return; StateNone unless
	// State is StatePaused, StateFailingOver or StateFailoverCommitPending.
	Prior State `json:"prior,omitempty"`

	Epoch   redoubt.Epoch   `json:"epoch"` // the current epoch, the only one that may write
	Lineage redoubt.Lineage `json:"lineage"`
	Writer  string          `json:"writer"` // SourceWriter(host) or TargetWriter(node)

	Owner     redoubt.NodeID `json:"owner"`      // the node that receives the group's stream
	OwnerTerm uint64         `json:"owner_term"` // rises with every change of owner, from 1

	Committed     redoubt.Position `json:"committed"`      // everything up to here is stored
	CommittedTime int64            `json:"committed_time"` // time of the write at Committed, Unix nanoseconds; 0 before the first
	Baseline      redoubt.LSN      `json:"baseline"`       // disks are whole at every position >= this; 0 while the first copy is under way

	// Of the last failover (or failback): the point that was promoted, when,
	// and what was known of the old writer. KnownHead bounds the loss: writes
	// above Promoted and up to KnownHead are known to be lost, later ones may be.
	Promoted      redoubt.Position `json:"promoted"`
	PromotedAt    int64            `json:"promoted_at"`
	KnownHead     redoubt.LSN      `json:"known_head"`
	KnownHeadTime int64            `json:"known_head_time"`
	LastContact   int64            `json:"last_contact"`
	// Before is the committed position at the first promotion of a failover
	// that is not yet committed: Cancel and ChangeRecoveryPoint go back to it.
	Before redoubt.Position `json:"before"`
	// Receipt is the exact loss, once the old writer came back and told it.
	Receipt *Receipt `json:"receipt,omitempty"`
}

// Receipt says which writes of the old writer are not part of the history that
// was promoted.
type Receipt struct {
	Epoch     redoubt.Epoch `json:"epoch"`      // of the lost writes
	First     redoubt.LSN   `json:"first"`      // 0 if nothing was lost
	Last      redoubt.LSN   `json:"last"`       // 0 if nothing was lost
	Writes    uint64        `json:"writes"`     // how many
	Bytes     uint64        `json:"bytes"`      // sum of their extents
	FirstTime int64         `json:"first_time"` // Unix nanoseconds
	LastTime  int64         `json:"last_time"`
	Time      int64         `json:"time"` // when the receipt was made
}

// Segment is the manifest of one stored delta: the points First..Last of the
// epoch exist once it is committed. Values that the Catalog returns share
// Nodes with it: do not change it.
type Segment struct {
	Epoch     redoubt.Epoch    `json:"epoch"`
	Ordinal   uint64           `json:"ordinal"` // 0.. within (group, epoch), without gaps
	First     redoubt.LSN      `json:"first"`
	Last      redoubt.LSN      `json:"last"`
	FirstTime int64            `json:"first_time"`
	LastTime  int64            `json:"last_time"`
	Size      uint32           `json:"size"`       // bytes of the encoded delta
	HeadLen   uint32           `json:"head_len"`   // bytes of its head, at its start
	ShardSize uint32           `json:"shard_size"` // bytes of each shard; K*ShardSize >= Size
	K         uint8            `json:"k"`
	M         uint8            `json:"m"`
	Nodes     []redoubt.NodeID `json:"nodes"`  // shard i is on Nodes[i]
	Stored    uint64           `json:"stored"` // bit i: shard i is durable
	CRC       uint32           `json:"crc"`    // CRC32C of the encoded delta
	Baseline  redoubt.LSN      `json:"baseline,omitempty"`
}

// SourceWriter is the Writer of a group while the host name writes it.
func SourceWriter(name string) string { return "source/" + name }

// TargetWriter is the Writer of a group while the node id exports it writable.
func TargetWriter(id redoubt.NodeID) string { return "target/" + string(id) }

// fail builds the typed error of this package.
func fail(op, object string, cause error, hint string) error {
	return &redoubt.Error{Op: op, Object: object, Err: cause, Hint: hint}
}
