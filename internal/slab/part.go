package slab

// Part is bytes that lie somewhere in a recycled buffer, of which they are the
// only user.
type Part struct {
	Data []byte
	mem  []byte
}

// PartOf returns data, which lies in mem, that Get returned.
func PartOf(data, mem []byte) Part { return Part{data, mem} }

// Free gives the buffer back; nobody may use Data any more. Who never calls it
// leaves the buffer to the collector of garbage.
func (p Part) Free() {
	if p.mem != nil {
		Put(p.mem)
	}
}
