package source

import "sync/atomic"

const (
	// copyAhead bounds what a group has announced and not yet acknowledged, in bytes:
	// a sender's window of deltas of data that shrinks to half.
	copyAhead = 64 << 20
	// copyAheadAll is shared by the groups of a host that copy at the same time,
	// because memory at both sites holds what is under way.
	copyAheadAll = 96 << 20
	// copyAheadLeast is a group's share however many there are: one delta.
	copyAheadLeast = 4 << 20
)

// copyRoom divides copyAheadAll. Its methods may be called concurrently.
type copyRoom struct{ copies atomic.Int64 }

// enter says that another group copies, until leave.
func (r *copyRoom) enter() (leave func()) {
	r.copies.Add(1)
	return func() { r.copies.Add(-1) }
}

// share returns how many bytes a group may be ahead now.
func (r *copyRoom) share() uint64 {
	n := uint64(max(1, r.copies.Load()))
	return min(copyAhead, max(copyAheadLeast, copyAheadAll/n))
}
