package index

import (
	"github.com/redoubt-dr/redoubt"
)

// Shown is a part of the entry number Entry that no later entry of its list covers.
type Shown struct {
	Entry  int
	Disk   redoubt.DiskID
	Extent redoubt.Extent
}

// Visible returns what a list of entries shows, in the order of the delta: the
// later of two entries wins.
func Visible(es []Entry) []Shown {
	marked := make([]Entry, len(es))
	for i := range es {
		// Block carries the number through the sweep, which asks for no more.
		marked[i] = Entry{LSN: 1, Disk: es[i].Disk, Extent: es[i].Extent, Block: uint32(i)}
	}
	var out []Shown
	for _, f := range flatten(marked, 0, 0, 1) {
		out = append(out, Shown{Entry: int(f.block), Disk: f.disk, Extent: redoubt.Extent{Off: f.off, Len: f.len}})
	}
	return out
}
