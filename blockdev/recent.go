package blockdev

import (
	"sort"

	"github.com/redoubt-dr/redoubt"
)

// recent are the records whose data is still in memory, in the order of their
// LSNs, in the two layers that the disks have: who ships them need not read them
// back from the journal. They are remembered from the first question on, until
// nobody has asked for a round. Guarded by Group.mu.
type recent struct {
	frozen, active []redoubt.Write
	on, asked      bool
}

func (r *recent) add(w *redoubt.Write) {
	if r.on {
		r.active = append(r.active, *w)
	}
}

// freeze begins a round, drop ends it: the frozen layer is in the backings now.
func (r *recent) freeze() {
	r.frozen, r.active = r.active, r.frozen[:0]
	r.on, r.asked = r.asked, false
}

func (r *recent) drop() {
	if cap(r.frozen) > spareRecords {
		r.frozen = nil
	}
	clear(r.frozen) // lets the data go
	r.frozen = r.frozen[:0]
}

// spareRecords is for how many records a layer that is empty keeps room: there
// may be a thousand groups that rest.
const spareRecords = 1 << 10

// recordCost is what a record counts beside its data, in bytes: about what it takes
// in dst. A trim has no data, and there may be a million of them.
const recordCost = 72

func (r *recent) forget() { *r = recent{} }

// from appends to dst the records from LSN l on until they hold most bytes;
// nothing if l is not among them. Records that share an LSN stay together.
func (r *recent) from(l redoubt.LSN, dst []redoubt.Write, most int) []redoubt.Write {
	r.on, r.asked = true, true
	bytes, layers := 0, [...][]redoubt.Write{r.frozen, r.active}
	for _, ws := range layers {
		i := 0
		if len(dst) == 0 {
			if i = sort.Search(len(ws), func(i int) bool { return ws[i].LSN >= l }); i == len(ws) {
				continue
			}
			if ws[i].LSN != l {
				return dst
			}
		}
		for ; i < len(ws); i++ {
			w := &ws[i]
			if n := len(dst); n > 0 && dst[n-1].LSN != w.LSN && (bytes >= most || dst[n-1].LSN+1 != w.LSN) {
				return dst
			}
			dst = append(dst, *w)
			bytes += recordCost + len(w.Data)
		}
	}
	return dst
}

// Recent appends to dst[:0] the records from LSN from on whose data is still in
// memory, at least one and then until they hold maxBytes, of which each costs a
// little beside its data; those that share an LSN come together. Their data holds
// until done is called: soon, because memory that is applied is not used again
// meanwhile. done is nil if the record from is not in memory: the journal has it.
// Whoever takes the data verifies its checksum.
func (g *Group) Recent(dst []redoubt.Write, from redoubt.LSN, maxBytes int) (ws []redoubt.Write, done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	ws = g.recent.from(from, dst[:0], maxBytes)
	if len(ws) == 0 {
		return nil, nil
	}
	g.chunks.hold(from)
	return ws, func() { g.chunks.letGo(from) }
}
