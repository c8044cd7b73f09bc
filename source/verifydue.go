package source

import (
	"context"
	"time"
)

// verifyRetry is the pause after a scheduled comparison that came to no result.
const verifyRetry = 10 * time.Minute

// verifyNowAndThen begins a comparison whenever one is due, until ctx is done.
func (g *Group) verifyNowAndThen(ctx context.Context) {
	if g.cfg.VerifyEvery <= 0 {
		return
	}
	for ctx.Err() == nil {
		if wait := verifyDue(g.VerifyStatus(), g.cfg.VerifyEvery, g.openedAt, g.host.Now()); wait > 0 {
			pause(ctx, min(wait, time.Minute))
			continue
		}
		if err := g.StartVerify(); err != nil {
			g.log.Info("a comparison with the secondary is due and cannot be made now", "err", err)
		}
		for g.VerifyStatus().Running && ctx.Err() == nil {
			pause(ctx, time.Second)
		}
		if st := g.VerifyStatus(); st.Err != nil || st.Last == nil {
			pause(ctx, verifyRetry)
		}
	}
}

// verifyDue returns how long to wait for the next comparison. Where none was
// made yet the daemon's start counts, so that not all hosts of a site that
// comes back begin at once.
func verifyDue(st VerifyStatus, every time.Duration, opened, now time.Time) time.Duration {
	last := opened
	if st.Last != nil {
		last = time.Unix(0, st.Last.Finished)
	}
	return last.Add(every).Sub(now)
}
