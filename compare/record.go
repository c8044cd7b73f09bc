package compare

import (
	"encoding/json"

	"github.com/redoubt-dr/redoubt"
)

// Record says what a comparison found. Times are Unix nanoseconds.
type Record struct {
	At       redoubt.Position `json:"at"` // of Root
	Root     Sum              `json:"root"`
	Started  int64            `json:"started"`
	Finished int64            `json:"finished"`
	// Compared is false if nothing was compared, and only the root computed.
	Compared bool `json:"compared"`
	// Of blocks of LeafSize bytes, holes included: all of them; those that were
	// written to just then and so put off to a later pass; of these the ones that
	// were written to each time that they were looked at; and those that differ.
	Blocks    uint64 `json:"blocks"`
	Moved     uint64 `json:"moved"`
	Unsettled uint64 `json:"unsettled"`
	Differing uint64 `json:"differing"`
	Passes    uint32 `json:"passes"`
	// Extents lists what differs, merged, at most MaxExtents of it.
	Extents   []DiskExtent `json:"extents,omitempty"`
	HashBytes uint64       `json:"hash_bytes"` // that came over the link
	ReadBytes uint64       `json:"read_bytes"` // that were read here
}

// MaxExtents bounds the list of a Record.
const MaxExtents = 1000

// DiskExtent is a range of a disk.
type DiskExtent struct {
	Disk   redoubt.DiskID `json:"disk"`
	Extent redoubt.Extent `json:"extent"`
}

// differ adds one block to the list, which is in order.
func (r *Record) differ(d redoubt.DiskID, e redoubt.Extent) {
	r.Differing++
	if n := len(r.Extents); n > 0 && r.Extents[n-1].Disk == d && r.Extents[n-1].Extent.End() == e.Off {
		r.Extents[n-1].Extent.Len += e.Len
		return
	}
	if len(r.Extents) < MaxExtents {
		r.Extents = append(r.Extents, DiskExtent{d, e})
	}
}

// encode returns the JSON form in at most limit bytes, without the last extents
// if it must: a thousand of high disk numbers and offsets are longer than a question.
func (r Record) encode(limit int) ([]byte, error) {
	for {
		b, err := json.Marshal(r)
		if err != nil || len(b) <= limit || len(r.Extents) == 0 {
			return b, err
		}
		r.Extents = r.Extents[:len(r.Extents)*limit/len(b)]
	}
}
