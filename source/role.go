package source

import (
	"encoding/json"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// Mode is what a source may do with its disks at present.
type Mode string

// The modes of a group at its source.
const (
	// ModeWriter: this host is the group's writer; clients may write.
	ModeWriter Mode = "writer"
	// ModeFenced: a later epoch has taken over; the disks are read-only.
	ModeFenced Mode = "fenced"
	// ModeReplica: the disks follow the secondary's writes; they are read-only.
	ModeReplica Mode = "replica"
)

// Role is the durable part of a group's mode. It is stored in the journal's
// state and read before the first client is served.
type Role struct {
	Mode    Mode            `json:"mode"`
	Epoch   redoubt.Epoch   `json:"epoch"` // the epoch that this side's records belong to
	Lineage redoubt.Lineage `json:"lineage"`
	// FencedBy is the lineage that the fence came with; its end is the epoch that took over.
	FencedBy redoubt.Lineage `json:"fenced_by,omitempty"`
	Reason   string          `json:"reason,omitempty"`
	// WholeAt is the LSN from which a replica's disks are whole; 0 until the
	// baseline has come. Below it they hold a mixture and must not be used.
	WholeAt redoubt.LSN `json:"whole_at,omitempty"`
	// Branch is the folder that keeps the orphan tail of the epoch before.
	Branch string `json:"branch,omitempty"`
	// Replaced: an image is another file than the one that the journal wrote to.
	Replaced bool `json:"replaced,omitempty"`
}

const roleKey = "role"

func loadRole(j *journal.Journal) (Role, error) {
	b, ok, err := j.State(roleKey)
	if err != nil {
		return Role{}, err
	}
	if !ok {
		e := j.Epoch()
		return Role{Mode: ModeWriter, Epoch: e, Lineage: redoubt.Lineage{{Epoch: e}}}, nil
	}
	var r Role
	if err := json.Unmarshal(b, &r); err != nil {
		return Role{}, &redoubt.Error{Op: "read role", Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	return r, r.Lineage.Validate()
}

func (r Role) save(j *journal.Journal) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return j.PutState(roleKey, b)
}

// fenceError is what clients of a group in role r get for a write, or nil.
func (r Role) fenceError() error {
	switch r.Mode {
	case ModeFenced:
		return redoubt.ErrFenced
	case ModeReplica:
		return redoubt.ErrReadOnly
	}
	return nil
}

// Whole reports whether the disks, with the journal's head at head, are the
// state of one point in the group's history. What a writer has is, by definition.
func (r Role) Whole(head redoubt.LSN) bool {
	switch r.Mode {
	case ModeReplica:
		return r.WholeAt != 0 && head >= r.WholeAt && !r.Replaced
	case ModeFenced:
		return !r.Replaced
	}
	return true
}

// takeover decides whether this side, in role r with its journal between tail
// and head, may become the writer of the lineage's current epoch. It returns
// nil if it may.
//
// After a failback the fork is exactly the replica's head. After a cancelled
// failover it is at or below the head of the writer that never stopped: the
// records above the fork were shipped to nobody and become the new epoch's
// first writes, so they must all still be there.
func (r Role) takeover(l redoubt.Lineage, tail, head redoubt.LSN) error {
	at, ok := l.ForkFrom(r.Epoch)
	switch {
	case l.Current() <= r.Epoch:
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrInvalid, Hint: fmt.Sprintf("epoch %d is not later than %d", l.Current(), r.Epoch)}
	case !ok:
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrFenced,
			Hint: fmt.Sprintf("epoch %d of this side is on no path to epoch %d; reverse replicate first", r.Epoch, l.Current())}
	case at == head && r.Whole(head):
		return nil
	case r.Replaced && r.Mode != ModeWriter:
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrState,
			Hint: "an image here is another file than before, and nobody knows what it holds: fail over again, commit, and come back by redoubt reverse, which compares it"}
	case !r.Whole(head):
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrState, Hint: "the copy from the secondary is not complete; reverse replicate again"}
	case at > head:
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrGap,
			Hint: fmt.Sprintf("this side ends at LSN %d and the new epoch begins after %d; reverse replicate again", head, at)}
	case r.Mode == ModeReplica || tail > at+1:
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrGap,
			Hint: fmt.Sprintf("the writes %d to %d of this side are not part of the new epoch; reverse replicate first", at+1, head)}
	}
	if f, _ := l.Find(l.Current()); f.At != at {
		return &redoubt.Error{Op: "take over", Err: redoubt.ErrFenced, Hint: "another writer was active meanwhile; reverse replicate first"}
	}
	return nil
}
