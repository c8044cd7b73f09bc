package catalog

import (
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// Limits of the verifications that are remembered.
const (
	// KeptVerifications is how many of one group are remembered.
	KeptVerifications = 32
	// KeptDiffering is how many extents of one verification are remembered.
	KeptDiffering = 64
)

// Verification is what a comparison of a group's two sites found, or, if
// nothing was compared, the root hash of a point at the secondary alone. Times
// are Unix nanoseconds, blocks have 4 KiB.
type Verification struct {
	At        redoubt.Position `json:"at"` // of Root
	Root      [32]byte         `json:"root"`
	Started   int64            `json:"started"`
	Finished  int64            `json:"finished"`
	Compared  bool             `json:"compared"`
	By        string           `json:"by"` // whose disks were compared, or which node computed the root
	Blocks    uint64           `json:"blocks"`
	Moved     uint64           `json:"moved"`     // put off to a later pass, because they were written to
	Unsettled uint64           `json:"unsettled"` // never seen at rest
	Differing uint64           `json:"differing"`
	Passes    uint32           `json:"passes"`
	Extents   []DiskExtent     `json:"extents,omitempty"` // the first of what differs
}

// DiskExtent is a range of a disk.
type DiskExtent struct {
	Disk   redoubt.DiskID `json:"disk"`
	Extent redoubt.Extent `json:"extent"`
}

// Verifications returns what was remembered of a group, oldest first.
func (c *Catalog) Verifications(id redoubt.GroupID) []Verification {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.s.verified[id]
}

// RecordVerification remembers a verification of a group. Result: nil.
type RecordVerification struct {
	Group        redoubt.GroupID
	Verification Verification
}

func (c RecordVerification) kind() kind { return kindRecordVerification }

func (c RecordVerification) encode(e *encoder) {
	e.str(string(c.Group))
	e.verification(&c.Verification)
}

func (c RecordVerification) check() error {
	v := &c.Verification
	if v.At.IsZero() || v.Finished < v.Started || len(v.Extents) > KeptDiffering || len(v.By) > maxAddr || v.Differing > v.Blocks || v.Unsettled > v.Blocks {
		return invalid("record verification of group", string(c.Group), "it contradicts itself")
	}
	return redoubt.ValidName("group", string(c.Group))
}

func (c RecordVerification) apply(s *state) (any, error) {
	const op = "record verification of group"
	g, err := s.group(op, c.Group)
	if err != nil {
		return nil, err
	}
	if _, ok := g.Lineage.Find(c.Verification.At.Epoch); !ok {
		return nil, invalid(op, string(g.ID), fmt.Sprintf("epoch %d is not one of its own", c.Verification.At.Epoch))
	}
	list := append(slices.Clone(s.verified[g.ID]), c.Verification)
	s.verified[g.ID] = list[max(0, len(list)-KeptVerifications):]
	return nil, nil
}

func (e *encoder) verification(v *Verification) {
	e.pos(v.At)
	e.b = append(e.b, v.Root[:]...)
	e.i64(v.Started)
	e.i64(v.Finished)
	e.bool(v.Compared)
	e.str(v.By)
	for _, n := range [...]uint64{v.Blocks, v.Moved, v.Unsettled, v.Differing, uint64(v.Passes)} {
		e.uvar(n)
	}
	e.uvar(uint64(len(v.Extents)))
	for _, x := range v.Extents {
		e.uvar(uint64(x.Disk))
		e.uvar(x.Extent.Off)
		e.uvar(x.Extent.Len)
	}
}

func (d *decoder) verification() Verification {
	v := Verification{At: d.pos()}
	copy(v.Root[:], d.take(len(v.Root)))
	v.Started, v.Finished, v.Compared, v.By = d.i64(), d.i64(), d.bool(), d.str(maxAddr, "name")
	v.Blocks, v.Moved, v.Unsettled, v.Differing = d.uvar(), d.uvar(), d.uvar(), d.uvar()
	v.Passes = uint32(d.uvarMax(1<<32-1, "number of passes"))
	for range d.count(KeptDiffering, "number of extents") {
		v.Extents = append(v.Extents, DiskExtent{redoubt.DiskID(d.uvarMax(1<<16-1, "disk")), redoubt.Extent{Off: d.uvar(), Len: d.uvar()}})
	}
	return v
}

// verified writes one record for each group that was verified.
func (w *snapshotWriter) verified(s *state) {
	for _, id := range slices.Sorted(maps.Keys(s.verified)) {
		w.record(recVerified, func(e *encoder) {
			e.str(string(id))
			e.uvar(uint64(len(s.verified[id])))
			for i := range s.verified[id] {
				e.verification(&s.verified[id][i])
			}
		})
	}
}

func (s *state) loadVerified(d *decoder) {
	id := d.groupID()
	if s.groups[id] == nil || s.verified[id] != nil {
		d.bad("verifications of an unknown group")
	}
	for range d.count(KeptVerifications, "number of verifications") {
		s.verified[id] = append(s.verified[id], d.verification())
	}
}
