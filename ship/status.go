package ship

import (
	"time"

	"github.com/redoubt-dr/redoubt"
)

// SenderStatus is a snapshot of a Sender.
type SenderStatus struct {
	Connected bool
	Peer      string           // address of the receiver, or the one tried last
	Acked     redoubt.Position // everything up to here is safe at the receiver
	Whole     redoubt.LSN      // everything up to here is fully redundant there; Acked's if it is not asked
	Kept      int64            // bytes of the journal kept for what is acked and not whole
	GaveUp    redoubt.LSN      // up to here they were let go for want of room; 0 if none were
	Head      redoubt.Position // the journal's
	LagWrites uint64           // writes after Acked
	LagTime   time.Duration    // age of the oldest write that is not acked, as far as known
	InFlight  int              // deltas shipped and not acked
	Gap       bool             // the receiver knows of a gap, and waits for its end
	BytesWire uint64           // encoded bytes of the deltas shipped, repetitions included
	BytesRaw  uint64           // the same before compression
	Deltas    uint64
	Connects  uint64  // streams opened since the start
	LinkRate  float64 // bytes per second that the link took lately; 0 if not known
	Codec     Codec   // in use at present
	LastError error   // of the last attempt; nil while connected
}

// Status returns a snapshot. It may be called at any time.
func (s *Sender) Status() SenderStatus {
	codec, rate := s.meter.state()
	head := s.o.Journal.Head()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.st
	st.Head, st.Codec, st.LinkRate = head, codec, rate
	st.InFlight = len(s.inflight)
	if st.Whole = st.Acked.LSN; s.keep != nil {
		st.Whole, st.Kept, st.GaveUp = s.keep.status(st.Acked.LSN)
	}
	if head.LSN > st.Acked.LSN {
		st.LagWrites = uint64(head.LSN - st.Acked.LSN)
		oldest := s.ackedTime
		if len(s.inflight) > 0 {
			oldest = s.inflight[0].firstTime
		}
		if oldest > 0 {
			st.LagTime = max(0, s.o.Now().Sub(time.Unix(0, oldest)))
		}
	}
	return st
}

func (s *Sender) update(fn func(st *SenderStatus)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fn(&s.st)
}
