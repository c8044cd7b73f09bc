package scrub

import (
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Stats say how far the scrub is.
type Stats struct {
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
	Found    Findings // in this pass
	Last     Findings // in the last whole pass
}

// Stats returns how far the scrub is.
func (c *Scrubber) Stats() Stats {
	st := c.snapshot()
	out := Stats{Pass: st.Pass, Running: st.Running, Started: unixTime(st.Started), Finished: unixTime(st.Finished), Done: st.Done,
		Total: c.o.Log.Stats().Bytes + int64(c.o.Index.Stats().Bytes), Rate: max(0, c.o.Bytes), Every: c.o.Every, Found: st.Found, Last: st.Last}
	if out.Rate > 0 {
		out.Duration = time.Duration(float64(out.Total) / float64(out.Rate) * float64(time.Second))
		if !st.Running {
			out.Next = c.o.Now().Add(c.due())
		}
	}
	return out
}

// Now has a pass begin at once, from the start also if one is under way. ErrState:
// the scrub is switched off.
func (c *Scrubber) Now() error {
	if c.o.Bytes < 0 {
		return &redoubt.Error{Op: "scrub", Object: string(c.o.Self), Err: redoubt.ErrState, Hint: "target.scrub.rate is 0: set a rate and restart redoubtd"}
	}
	select {
	case c.now <- struct{}{}:
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
