package ship

import (
	"context"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Hello opens a connection: what the sender has.
type Hello struct {
	Group     redoubt.GroupID `json:"group"`
	UUID      string          `json:"uuid"`      // of the group; tells apart groups of one name
	Source    string          `json:"source"`    // name of the host whose group it is
	Advertise string          `json:"advertise"` // address where this side listens
	Epoch     redoubt.Epoch   `json:"epoch"`
	Lineage   redoubt.Lineage `json:"lineage,omitempty"`
	Head      redoubt.LSN     `json:"head"` // last LSN in the sender's journal
	Tail      redoubt.LSN     `json:"tail"` // first LSN that it can still ship
	HeadTime  int64           `json:"head_time"`
	Disks     []redoubt.Disk  `json:"disks"`
	// Joining are those of Disks that do not belong to points yet: they are being
	// copied. Gone are disks that have left, whose records may still come.
	Joining []redoubt.DiskID `json:"joining,omitempty"`
	Gone    []redoubt.Disk   `json:"gone,omitempty"`

	Reverse bool         `json:"reverse,omitempty"` // to a source's own disks, not to a store
	Probe   bool         `json:"probe,omitempty"`   // wants a Welcome and nothing else
	K       int          `json:"k,omitempty"`       // data shards wanted at creation
	M       int          `json:"m,omitempty"`       // parity shards wanted at creation
	Receipt *LossSummary `json:"receipt,omitempty"`
	Whole   bool         `json:"whole,omitempty"`   // wants to be told what is fully redundant; set by the Sender
	Notices bool         `json:"notices,omitempty"` // takes frameNotice; set by the Sender
	Job     *JobReport   `json:"job,omitempty"`     // a source's word on the job of the Welcome before
	Ask     *Ask         `json:"ask,omitempty"`     // with Probe: what the source's operator wants
	// Journal names the sender's journal. One that was made anew has another name.
	Journal string `json:"journal,omitempty"`
	// GivenUp, if not 0, is the last LSN whose payload the journal gave up: what
	// comes instead of everything up to it leaves a gap without points. Set by the Sender.
	GivenUp redoubt.LSN `json:"given_up,omitempty"`
}

// Members returns the disks that belong to points, as far as the sender knows.
func (h *Hello) Members() (out []redoubt.Disk) {
	for _, d := range h.Disks {
		if !slices.Contains(h.Joining, d.ID) {
			out = append(out, d)
		}
	}
	return out
}

// Named returns the disk with that number, also one that has left.
func (h *Hello) Named(id redoubt.DiskID) (redoubt.Disk, bool) {
	for _, list := range [][]redoubt.Disk{h.Disks, h.Gone} {
		for _, d := range list {
			if d.ID == id {
				return d, true
			}
		}
	}
	return redoubt.Disk{}, false
}

// LossSummary is what a returned source found in its journal that the other
// side never got: the writes after Fork in the epoch that is over.
type LossSummary struct {
	Fork      redoubt.Position `json:"fork"` // last position that was kept
	Head      redoubt.Position `json:"head"` // last position that was lost
	Writes    uint64           `json:"writes"`
	Bytes     uint64           `json:"bytes"`
	FirstTime int64            `json:"first_time"`
	LastTime  int64            `json:"last_time"`
	Branch    string           `json:"branch,omitempty"` // where the source keeps them
}

// Welcome answers a Hello: where the receiver is.
type Welcome struct {
	Redirect   string           `json:"redirect,omitempty"` // go to this address instead
	Fenced     bool             `json:"fenced,omitempty"`   // the sender's epoch is over
	Accepted   bool             `json:"accepted,omitempty"` // set by the Receiver: a stream is open
	Epoch      redoubt.Epoch    `json:"epoch"`
	Lineage    redoubt.Lineage  `json:"lineage,omitempty"`
	Writer     string           `json:"writer"` // "source/NAME" or "target/NODE": who may write in Epoch
	Committed  redoubt.Position `json:"committed"`
	Baseline   redoubt.LSN      `json:"baseline"`
	Resync     bool             `json:"resync,omitempty"` // the receiver's disks differ; see DirtyAfter
	DirtyAfter redoubt.LSN      `json:"dirty_after,omitempty"`
	State      string           `json:"state,omitempty"`
	Owner      string           `json:"owner,omitempty"`
	Reason     string           `json:"reason,omitempty"`    // in words, why there is no stream
	Whole      bool             `json:"whole,omitempty"`     // set by the Receiver: it tells what is fully redundant
	Jobs       bool             `json:"jobs,omitempty"`      // Job is said: without one, none is under way
	Job        *JobOrder        `json:"job,omitempty"`       // what is asked of the source
	Hold       *Hold            `json:"hold,omitempty"`      // the source keeps its writes to itself
	Anew       redoubt.Epoch    `json:"anew,omitempty"`      // a source of an earlier epoch forgets its journal and copies its disks whole from where this epoch begins
	Disks      []redoubt.Disk   `json:"disks,omitempty"`     // as the receiver knows them at Committed; a source whose disks are larger says so in its stream
	NextDisk   redoubt.DiskID   `json:"next_disk,omitempty"` // no disk of the group had this number or a larger one
	Answer     *Answer          `json:"answer,omitempty"`    // to Ask; a receiver that does not know Ask gives none
	UUID       string           `json:"uuid,omitempty"`      // of the group, if the sender has another one
	Journal    string           `json:"journal,omitempty"`   // of a replica: names its journal
	// Unknown says that this side does not know what its disks differ in: they hold
	// a part of a copy, or are not those that its journal wrote to.
	Unknown bool `json:"unknown,omitempty"`
	// Lost says why what the sender's journal has does not follow what the
	// receiver has: its disks must be compared first.
	Lost string `json:"lost,omitempty"`
	// Compare, if not zero, is the position with which Epoch begins: the sender
	// ships what its disks have there otherwise, and ends with a baseline.
	Compare redoubt.Position `json:"compare"`
	Gap     bool             `json:"gap,omitempty"` // what is committed ends in a gap: there are no points until a baseline
}

// resume returns the last LSN that the receiver has of epoch's history: a
// committed position in an ancestor is taken at the fork.
func (w *Welcome) resume(epoch redoubt.Epoch) redoubt.LSN {
	if w.Committed.Epoch < epoch {
		if f, ok := w.Lineage.Find(epoch); ok {
			return f.At
		}
	}
	return w.Committed.LSN
}

// Sink takes what a Receiver receives.
type Sink interface {
	// Hello answers a sender whose certificate says peer. The Stream is nil when
	// the Welcome redirects, fences or only answers a probe. The Receiver has
	// checked that peer may speak for the group (see Receiver). It may be called
	// concurrently; ctx ends with the connection.
	Hello(ctx context.Context, peer pki.Identity, h Hello) (Welcome, Stream, error)
}

// Stream is one connection's deltas at the sink. Begin, Append and Heartbeat
// are called from one goroutine; Dirty is called before Begin; Close is called
// once, after all the others have returned.
//
// A Stream may also have Broken() <-chan error: an error from it ends the
// connection, for example when another epoch or owner has taken over while the
// sender is silent. And it may have Whole() redoubt.LSN: the position up to which
// everything is stored with all of its redundancy, which may fall when copies
// are lost. It is asked about every second, while the stream is open.
// And it may have Notice() <-chan struct{}: when something comes, the sender is
// told to ask for a Welcome.
type Stream interface {
	// Begin says that the stream starts at LSN start. After Welcome.Resync it
	// means: forget what you have and begin here.
	Begin(start redoubt.LSN) error
	// Append takes the next delta: contiguous, of the right group and epoch,
	// its checksums verified. It may block for back-pressure, until the context
	// given to Hello ends. done is called from any goroutine, once, when
	// everything up to the position (of the delta's epoch) is durable and
	// committed, or with the error that ends the stream.
	Append(d *Delta, done func(redoubt.Position, error))
	// Heartbeat tells how far the sender's journal is, and its clock, about
	// every second.
	Heartbeat(head redoubt.LSN, headTime int64, now int64)
	// Dirty yields, after Welcome.Resync, what this side has changed after
	// Welcome.DirtyAfter, until yield returns false.
	Dirty(yield func(redoubt.DiskID, redoubt.Extent) bool) error
	// Close ends the stream. Appended deltas may still become committed.
	Close()
}
