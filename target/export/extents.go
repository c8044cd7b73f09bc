package export

import (
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// extentSet collects extents of several disks and merges them.
type extentSet map[redoubt.DiskID][]redoubt.Extent

func (s extentSet) add(m map[redoubt.DiskID][]redoubt.Extent) {
	for d, es := range m {
		s[d] = append(s[d], es...)
	}
}

// merged returns the union: sorted extents that neither touch nor overlap.
func (s extentSet) merged() map[redoubt.DiskID][]redoubt.Extent {
	out := make(map[redoubt.DiskID][]redoubt.Extent, len(s))
	for d, es := range s {
		slices.SortFunc(es, func(a, b redoubt.Extent) int {
			switch {
			case a.Off < b.Off:
				return -1
			case a.Off > b.Off:
				return 1
			}
			return 0
		})
		var m []redoubt.Extent
		for _, e := range es {
			if n := len(m); n > 0 && e.Off <= m[n-1].End() {
				m[n-1].Len = max(m[n-1].End(), e.End()) - m[n-1].Off
			} else if !e.Empty() {
				m = append(m, e)
			}
		}
		out[d] = m
	}
	return out
}

// within cuts off what lies beyond the end of the disks: the old primary's may
// have grown after the point that was failed over to.
func within(m map[redoubt.DiskID][]redoubt.Extent, disks []redoubt.Disk) map[redoubt.DiskID][]redoubt.Extent {
	out := make(map[redoubt.DiskID][]redoubt.Extent, len(m))
	for _, d := range disks {
		for _, e := range m[d.ID] {
			if e = e.Intersect(redoubt.Extent{Len: d.Size}); !e.Empty() {
				out[d.ID] = append(out[d.ID], e)
			}
		}
	}
	return out
}
