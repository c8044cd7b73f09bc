package target

import (
	"time"

	"github.com/redoubt-dr/redoubt"
)

// ScrubStats say how far the scrub is.
type ScrubStats struct {
	Pass     uint64 // number of this pass, or of the last one
	Running  bool
	Started  time.Time
	Finished time.Time // of the last whole pass; zero if there was none
	Next     time.Time // when the next pass begins; zero if one runs, or none will
	Done     int64     // bytes
	Total    int64     // bytes in the log and the index now
	Rate     int64     // bytes a second that are set; 0: switched off
	Duration time.Duration
	Every    time.Duration
	Found    ScrubFindings // in this pass
	Last     ScrubFindings // in the last whole pass
}

// Scrub returns how far the scrub is.
func (s *Store) Scrub() ScrubStats {
	st := s.scrub.snapshot()
	out := ScrubStats{Pass: st.Pass, Running: st.Running, Started: unixTime(st.Started), Finished: unixTime(st.Finished), Done: st.Done,
		Total: s.log.Stats().Bytes + int64(s.idx.Stats().Bytes), Rate: max(0, s.o.ScrubBytes), Every: s.o.ScrubEvery, Found: st.Found, Last: st.Last}
	if out.Rate > 0 {
		out.Duration = time.Duration(float64(out.Total) / float64(out.Rate) * float64(time.Second))
		if !st.Running {
			out.Next = s.o.Now().Add(s.scrub.due())
		}
	}
	return out
}

// ScrubNow has a pass begin at once, from the start also if one is under way.
func (s *Store) ScrubNow() error {
	if s.o.ScrubBytes < 0 {
		return &redoubt.Error{Op: "scrub", Object: string(s.o.ID), Err: redoubt.ErrState, Hint: "target.scrub.rate is 0: set a rate and restart redoubtd"}
	}
	select {
	case s.scrub.now <- struct{}{}:
	default: // it is wished for already
	}
	return nil
}

func unixTime(nanos int64) time.Time {
	if nanos == 0 {
		return time.Time{}
	}
	return time.Unix(0, nanos)
}
