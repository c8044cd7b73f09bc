package ship

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// JobOrder is what the secondary asks of a source: a planned failover is under
// way. It stands in a Welcome; a frameNotice says that there is a new one.
type JobOrder struct {
	ID    uint64 `json:"id"`
	Step  string `json:"step"`  // "ship": get close behind; "quiesce": stop the writers; "resume": the job is over, let them go on and say so; any other: stay stopped
	Limit int64  `json:"limit"` // nanoseconds after which a stopped source asks to cancel
}

// What a source says in a JobReport.
const (
	JobProgress = "progress" // Head and Acked: how far it has shipped
	JobReady    = "ready"    // it is close behind
	JobStopped  = "stopped"  // it takes no writes; Head is its last one, Sum covers Proof
	JobRefused  = "refused"  // it wants the job to end; Why and Hint say why
	JobResumed  = "resumed"  // it takes writes again, after the job's end
)

// JobReport is a source's answer to a JobOrder. It stands in a Hello.
type JobReport struct {
	ID    uint64       `json:"id"`
	What  string       `json:"what"`
	Head  redoubt.LSN  `json:"head,omitempty"`
	Acked redoubt.LSN  `json:"acked,omitempty"`
	Held  int64        `json:"held,omitempty"` // nanoseconds since the writers were stopped
	Sum   []byte       `json:"sum,omitempty"`
	Proof []DiskExtent `json:"proof,omitempty"`
	Why   string       `json:"why,omitempty"`
	Hint  string       `json:"hint,omitempty"`
}

// DiskExtent is a range of a disk.
type DiskExtent struct {
	Disk   redoubt.DiskID `json:"disk"`
	Extent redoubt.Extent `json:"extent"`
}

const (
	// MaxProof is how many extents a JobReport names, MaxProofExtent how long
	// each is at most, in bytes.
	MaxProof       = 64
	MaxProofExtent = 256 << 10
	maxReason      = 512
)

func (r *JobReport) check() error {
	bad := func(why string) error {
		return &redoubt.Error{Op: "read job report", Err: fmt.Errorf("%s: %w", why, redoubt.ErrInvalid)}
	}
	if r.ID == 0 || len(r.Sum) > sha256.Size || len(r.Proof) > MaxProof || len(r.Why) > maxReason || len(r.Hint) > maxReason || r.Held < 0 {
		return bad("a value out of range")
	}
	for _, x := range r.Proof {
		if x.Extent.Len > MaxProofExtent || !x.Extent.Within(redoubt.MaxDiskSize) {
			return bad("extent " + x.Extent.String())
		}
	}
	return nil
}

// HashExtents returns the SHA-256 over the extents, in their order: disk (u16),
// offset and length (u64, little-endian), content. Both sides of a planned
// failover compute it.
func HashExtents(xs []DiskExtent, read func(d redoubt.DiskID, p []byte, off uint64) error) ([]byte, error) {
	h := sha256.New()
	buf := make([]byte, MaxProofExtent)
	for _, x := range xs {
		if x.Extent.Len > MaxProofExtent {
			return nil, &redoubt.Error{Op: "hash extent", Object: x.Extent.String(), Err: redoubt.ErrInvalid}
		}
		var head [dirtyLen]byte
		binary.LittleEndian.PutUint16(head[:], uint16(x.Disk))
		binary.LittleEndian.PutUint64(head[2:], x.Extent.Off)
		binary.LittleEndian.PutUint64(head[10:], x.Extent.Len)
		h.Write(head[:])
		p := buf[:x.Extent.Len]
		if err := read(x.Disk, p, x.Extent.Off); err != nil {
			return nil, err
		}
		h.Write(p)
	}
	return h.Sum(nil), nil
}

// noticer is a Stream that tells when the group's Welcome would have changed.
type noticer interface{ Notice() <-chan struct{} }
