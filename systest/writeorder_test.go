package systest

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// writeOrder is what one client wrote to its disks, one write after the other,
// and how much of it was flushed. Numbers count from 1.
type writeOrder struct {
	disks [][]byte // after write number done
	done  int

	mu      sync.Mutex
	ops     []oracle.Op // ops[i] is write number done+1+i
	flushed int
}

// issue notes a write that is about to be made.
func (o *writeOrder) issue(op *oracle.Op) {
	c := *op
	c.Data = bytes.Clone(op.Data)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ops = append(o.ops, c)
}

// flush says that every write so far was answered and flushed.
func (o *writeOrder) flush() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.flushed = o.done + len(o.ops)
}

func (o *writeOrder) floor() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushed
}

func (o *writeOrder) issued() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.done + len(o.ops)
}

// prefix returns the number k, floor <= k <= issued, after which the disks were
// what was found. Everything up to floor is forgotten. No write is under way.
func (o *writeOrder) prefix(got [][]byte, floor, issued int) (k int, err error) {
	for ; o.done < floor; o.done++ {
		play(o.disks, &o.ops[0])
		o.ops = o.ops[1:]
	}
	try := make([][]byte, len(o.disks))
	wrong, first := 0, ""
	for i, p := range o.disks {
		try[i] = bytes.Clone(p)
		for s := 0; s < len(p); s += redoubt.SectorSize {
			if !bytes.Equal(p[s:s+redoubt.SectorSize], got[i][s:s+redoubt.SectorSize]) {
				if wrong++; first == "" {
					first = fmt.Sprintf("disk %d, sector %d", i+1, s/redoubt.SectorSize)
				}
			}
		}
	}
	for k = floor; wrong > 0 && k < issued; k++ {
		op := &o.ops[k-floor]
		i := int(op.Disk.ID) - 1
		wrong -= differing(try[i], got[i], op.Extent)
		play(try, op)
		wrong += differing(try[i], got[i], op.Extent)
	}
	if wrong > 0 {
		return floor, fmt.Errorf("%w: the disks are what they were after none of the writes %d to %d; after %d they differ first at %s, after %d in %d sectors",
			errLost, floor, issued, floor, first, issued, wrong)
	}
	return k, nil
}

func play(disks [][]byte, op *oracle.Op) {
	part := disks[op.Disk.ID-1][op.Extent.Off:op.Extent.End()]
	if op.Kind == redoubt.KindWrite {
		copy(part, op.Data)
		return
	}
	clear(part)
}

// differing counts the sectors of e in which a and b differ.
func differing(a, b []byte, e redoubt.Extent) (n int) {
	for s := e.Off; s < e.End(); s += redoubt.SectorSize {
		if !bytes.Equal(a[s:s+redoubt.SectorSize], b[s:s+redoubt.SectorSize]) {
			n++
		}
	}
	return n
}
