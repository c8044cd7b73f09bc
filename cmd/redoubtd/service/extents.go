package service

import (
	"cmp"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// extentsByDisk gathers extents. The zero value is empty.
type extentsByDisk map[redoubt.DiskID][]redoubt.Extent

func (x *extentsByDisk) add(d redoubt.DiskID, e redoubt.Extent) {
	if *x == nil {
		*x = extentsByDisk{}
	}
	(*x)[d] = append((*x)[d], e)
}

// merged returns them sorted, without overlaps, and joined where they touch.
func (x extentsByDisk) merged() map[redoubt.DiskID][]redoubt.Extent {
	out := map[redoubt.DiskID][]redoubt.Extent{}
	for d, es := range x {
		slices.SortFunc(es, func(a, b redoubt.Extent) int { return cmp.Compare(a.Off, b.Off) })
		var m []redoubt.Extent
		for _, e := range es {
			if n := len(m); n > 0 && e.Off <= m[n-1].End() {
				m[n-1].Len = max(m[n-1].End(), e.End()) - m[n-1].Off
				continue
			}
			m = append(m, e)
		}
		out[d] = m
	}
	return out
}
