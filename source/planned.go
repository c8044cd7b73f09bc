package source

import (
	"context"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/ship"
)

const (
	// closeLag is how old the oldest write may be that the secondary does not
	// have, for the rest to be shipped while clients wait.
	closeLag = 150 * time.Millisecond
	// A link that does not get there within catchUpPatience is taken as it is,
	// up to closeLagMost.
	catchUpPatience = 2 * time.Second
	closeLagMost    = 500 * time.Millisecond
	// lookAgain is how often it is looked whether the lag has become so small,
	// tellEvery how often the secondary is told meanwhile.
	lookAgain = 20 * time.Millisecond
	tellEvery = time.Second
	// stopPoll is how often a stopped source asks what has become of the job.
	stopPoll = 200 * time.Millisecond
	// warnEvery is how often the log says that nobody can be asked.
	warnEvery = 10 * time.Second
)

// planned does at a writer what a planned failover asks of it. What the
// secondary wants stands in the Welcome of a probe; the answer travels with the
// next probe. So any node of the secondary will do, and nothing depends on a
// connection that stays.
type planned struct {
	g      *Group
	report *ship.JobReport // what the next probe says
	job    uint64          // that is being shipped for, and since when
	since  time.Time
	warned time.Time
}

// runPlanned follows orders until ctx is done.
func (g *Group) runPlanned(ctx context.Context) {
	p := &planned{g: g}
	for ctx.Err() == nil {
		if _, ok := g.held(); !ok && p.report == nil {
			select {
			case <-g.news:
			case <-ctx.Done():
				return
			}
		}
		pause(ctx, p.round(ctx))
	}
}

// noteNews has the order looked at.
func (g *Group) noteNews() {
	select {
	case g.news <- struct{}{}:
	default:
	}
}

// round asks once and does what is asked. It returns how long to wait before
// the next question.
func (p *planned) round(ctx context.Context) time.Duration {
	g := p.g
	w, err := g.askOf(ctx, nil, p.report)
	if err != nil {
		p.unreachable(err)
		g.noteNews()
		return g.cfg.PollInterval
	}
	if p.report != nil && p.report.What == ship.JobStopped {
		crashpoint.Here("source.stop.told")
	}
	p.report = nil
	g.keepWelcome(w)
	g.keepAskError(nil)
	switch {
	case w.Epoch > g.Role().Epoch:
		g.obey(w)
		return g.cfg.PollInterval
	case !w.Jobs: // an older node answered: it does not know
		g.noteNews()
		return g.cfg.PollInterval
	}
	return p.act(ctx, w.Job)
}

// unreachable says that a stopped source stays stopped because nobody answers.
func (p *planned) unreachable(err error) {
	s, ok := p.g.held()
	p.g.keepAskError(err)
	if now := time.Now(); ok && now.Sub(p.warned) >= warnEvery {
		p.warned = now
		p.g.log.Warn("the disks stay read-only: the secondary cannot be asked what has become of the planned failover", "job", s.Job,
			"stopped_for", time.Duration(p.g.heldFor(s)), "err", err, "hint", forceHint(p.g.cfg.Name))
	}
}

func forceHint(id redoubt.GroupID) string {
	return "restore the link; only if the secondary is known not to have taken over: redoubt failover cancel " + string(id) + " --force at this host"
}

// act carries out an order; o is nil if there is none.
func (p *planned) act(ctx context.Context, o *ship.JobOrder) time.Duration {
	g := p.g
	s, held := g.held()
	switch {
	case held && (o == nil || o.ID != s.Job):
		return p.resume(s)
	case o == nil:
		return 0
	case o.Step == "resume":
		return p.resumed(o.ID, "the source takes writes")
	case g.leftover().Forced == o.ID:
		return p.refuse(o.ID, "an operator let the source go on by force", "")
	case held && time.Duration(g.heldFor(s)) > time.Duration(s.Limit) && s.Limit > 0:
		return p.refuse(o.ID, "the writers at the source were stopped for longer than "+time.Duration(s.Limit).String(),
			"the source goes on; see where the job stood, and try again with a longer --stop-limit")
	case !held && g.addedDisk() != "":
		return p.refuse(o.ID, "disk "+g.addedDisk()+" is being added: the secondary does not have all of it", "wait until `redoubt status` shows it as a part of the group, or remove it")
	case o.Step == "ship":
		return p.catchUp(ctx, o)
	case o.Step == "quiesce":
		return p.stop(ctx, o, held)
	case !held:
		return p.refuse(o.ID, "the source has lost that its writers were stopped", "begin the failover again")
	}
	return stopPoll
}

// refuse asks for the end of the job. It is said with the next probe, and again
// until the job is over.
func (p *planned) refuse(job uint64, why, hint string) time.Duration {
	p.g.log.Warn("planned failover: this side asks to cancel", "job", job, "why", why)
	p.report = &ship.JobReport{ID: job, What: ship.JobRefused, Why: clip(why), Hint: clip(hint)}
	return lookAgain
}

// resume goes on as if nothing had happened: the catalog says that the job is over.
func (p *planned) resume(s stopped) time.Duration {
	lasted := time.Duration(p.g.heldFor(s)).Round(time.Millisecond)
	if err := p.g.resumeWriters(s.Job, false); err != nil {
		p.g.log.Error("writes cannot go on", "err", err)
		return stopPoll
	}
	return p.resumed(s.Job, "the source takes writes again after "+lasted.String())
}

// resumed has the secondary told how the job ended here. It asks until it hears it.
func (p *planned) resumed(job uint64, note string) time.Duration {
	p.report = &ship.JobReport{ID: job, What: ship.JobResumed, Why: note}
	return 0
}

// catchUp waits until little is left to ship, and tells how far it is.
func (p *planned) catchUp(ctx context.Context, o *ship.JobOrder) time.Duration {
	g := p.g
	if p.job != o.ID {
		p.job, p.since = o.ID, time.Now()
	}
	r := &ship.JobReport{ID: o.ID, What: ship.JobProgress}
	for until := time.Now().Add(tellEvery); time.Now().Before(until) && ctx.Err() == nil; {
		lag := closeLag
		if time.Since(p.since) > catchUpPatience {
			lag = closeLagMost
		}
		if g.closeBehind(lag) {
			r.What = ship.JobReady
			break
		}
		pause(ctx, lookAgain)
	}
	r.Head, r.Acked = g.journal.Head().LSN, g.shipped()
	p.report = r
	return 0
}

func (g *Group) closeBehind(lag time.Duration) bool {
	g.mu.Lock()
	s := g.sender
	g.mu.Unlock()
	if s == nil {
		return false
	}
	st := s.Status()
	return st.Connected && (st.LagWrites == 0 || st.LagTime <= lag)
}

func (p *planned) stop(ctx context.Context, o *ship.JobOrder, held bool) time.Duration {
	var err error
	if held { // told before, and asked again
		p.report, err = p.g.stopReport()
		if err == nil {
			return lookAgain
		}
	} else if p.report, err = p.g.stopWriters(ctx, o); err == nil {
		return 0
	}
	return p.refuse(o.ID, "the source cannot stop its writers: "+err.Error(), redoubt.Hint(err))
}

// clip bounds a text for a report.
func clip(s string) string { return strings.ToValidUTF8(s[:min(len(s), 500)], "") }
