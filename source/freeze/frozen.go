package freeze

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// Frozen is what is at rest. Its methods may be called concurrently.
type Frozen struct {
	f        *Freezer
	name     string
	began    time.Time
	watchdog *time.Timer
	todo     []hook.Script // to be run by freeze

	mu      sync.Mutex
	stopped string        // why thawing has begun; "": it has not
	scripts []hook.Script // whose freeze was begun
	mounts  []string      // that are frozen, or may be
	open    int           // steps of freezing that have not ended
	giveUp  context.CancelCauseFunc
	missed  error         // what thawing has not reached
	done    chan struct{} // closed when open comes to 0 after thawing has begun
	steps   []Step
	once    sync.Once
	final   Report
}

// Step is one thing that was done.
type Step struct {
	What string // such as "freeze script 10-db" or "thaw mount /srv"
	Took time.Duration
	Err  error  // nil: it succeeded
	Tail []byte // the last bytes of a script's output
}

// Report says what happened.
type Report struct {
	Steps []Step
	// Frozen is from the beginning of the first step to the end of the last.
	Frozen time.Duration
	// Err says what could not be thawed, or was thawed too early.
	Err error
}

// freeze runs the steps. On an error the caller thaws.
func (z *Frozen) freeze(ctx context.Context) error {
	ctx, cancel := context.WithDeadline(ctx, z.began.Add(z.f.o.Hold))
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	z.mu.Lock()
	z.giveUp = giveUp
	z.mu.Unlock()
	for _, s := range z.todo {
		if err := z.begun(func() { z.scripts = append(z.scripts, s) }); err != nil {
			return err
		}
		err := z.script(ctx, s, "freeze", "")
		z.over("script "+s.Name, func() error { return z.script(context.Background(), s, "thaw", "it ended when everything was thawed") })
		if err != nil {
			return err
		}
	}
	for _, m := range z.f.o.Mounts {
		if err := z.begun(func() { z.mounts = append(z.mounts, m) }); err != nil {
			return err
		}
		if err := z.mount(ctx, m); err != nil {
			return err
		}
	}
	return z.Check()
}

// begun notes a step before it is done, unless thawing has begun. over ends it.
func (z *Frozen) begun(note func()) error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.stopped != "" {
		return z.tooLate()
	}
	note()
	z.open++
	return nil
}

// over ends a step that begun has noted. If thawing has begun meanwhile the step
// may have frozen something behind it: again thaws that.
func (z *Frozen) over(what string, again func() error) {
	z.mu.Lock()
	if z.stopped == "" {
		z.open--
		z.mu.Unlock()
		return
	}
	z.mu.Unlock()
	err := again()
	if err != nil {
		z.f.o.Logger.Error("NOT THAWED", "step", what, "err", err, "hint", redoubt.Hint(err))
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.missed = errors.Join(z.missed, err)
	if z.open--; z.open == 0 && z.done != nil {
		close(z.done)
	}
}

// Check returns an error once thawing has begun. It does not block.
func (z *Frozen) Check() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.stopped != "" {
		return z.tooLate()
	}
	return nil
}

func (z *Frozen) tooLate() error {
	return &redoubt.Error{Op: "freeze for bookmark", Object: z.name, Err: fmt.Errorf("thawed before its time: %s: %w", z.stopped, redoubt.ErrScript),
		Hint: "raise hooks.hold, or make the hooks faster"}
}

func (z *Frozen) script(ctx context.Context, s hook.Script, verb, why string) error {
	o := &z.f.o
	r, err := s.Run(ctx, hook.Job{Args: []string{verb, o.Group, z.name}, Time: o.Step, Leave: verb == "freeze",
		Env: append(hook.Environ("REDOUBT_HOOK", verb, "REDOUBT_GROUP", o.Group, "REDOUBT_BOOKMARK", z.name,
			"REDOUBT_TIME_LIMIT", strconv.Itoa(int(o.Step/time.Second)), "REDOUBT_WHY", why), o.Env...)})
	z.add(Step{What: verb + " script " + s.Name, Took: r.Took, Err: err, Tail: r.Output.Tail})
	return err
}

func (z *Frozen) add(s Step) {
	if s.Err != nil {
		z.f.o.Logger.Warn("a hook failed", "step", s.What, "err", s.Err, "hint", redoubt.Hint(s.Err))
	}
	z.mu.Lock()
	z.steps = append(z.steps, s)
	z.mu.Unlock()
}

// mount freezes one file system. The kernel's answer cannot be cut short: if it
// comes too late, what was frozen by then is thawed at once.
func (z *Frozen) mount(ctx context.Context, path string) error {
	begin := time.Now()
	answer := make(chan error, 1)
	go func() {
		err := freezeMount(path)
		z.over("mount "+path, func() error {
			if err != nil {
				return nil
			}
			return thawMount(path)
		})
		answer <- err // last: whoever has it finds nothing open
	}()
	t := time.NewTimer(z.f.o.Step)
	defer t.Stop()
	var err error
	select {
	case err = <-answer:
	case <-t.C:
		err = mountError("freeze", path, fmt.Errorf("not done after %s: %w", z.f.o.Step, redoubt.ErrScript), "the disk behind it is slow or stuck; it is thawed as soon as it is frozen")
	case <-ctx.Done():
		err = mountError("freeze", path, fmt.Errorf("given up: %w", context.Cause(ctx)), "")
	}
	if errors.Is(err, unix.EBUSY) {
		z.mu.Lock() // not ours to thaw
		z.mounts = z.mounts[:len(z.mounts)-1]
		z.mu.Unlock()
	}
	z.add(Step{What: "freeze mount " + path, Took: time.Since(begin), Err: err})
	return err
}

// Thaw lets everything go on, once; later calls return the same report.
func (z *Frozen) Thaw() Report { return z.thaw("") }

// thawTries is how often a step of thawing is tried, with a moment between.
const (
	thawTries = 3
	thawPause = 200 * time.Millisecond
)

func (z *Frozen) thaw(why string) Report {
	z.once.Do(func() {
		z.mu.Lock()
		z.stopped = why
		if why == "" {
			z.stopped = "it was done"
		}
		scripts, mounts := z.scripts, z.mounts
		if z.giveUp != nil {
			z.giveUp(z.tooLate())
		}
		z.mu.Unlock()
		if z.watchdog != nil {
			z.watchdog.Stop()
		}
		if why != "" {
			z.f.o.Logger.Warn("thawing", "bookmark", z.name, "why", why)
		}
		err := z.thawAll(scripts, mounts, why)
		if late := z.stillOpen(); late == nil || within(late, lateWait) {
			err = z.f.ended(z, errors.Join(err, z.behind()))
		} else {
			go func() {
				<-late
				_ = z.f.ended(z, errors.Join(err, z.behind()))
			}()
			err = errors.Join(err, &redoubt.Error{Op: "thaw after bookmark", Object: z.name, Err: fmt.Errorf("a step of freezing has not ended: %w", redoubt.ErrUnavailable), Hint: "what it freezes is thawed as soon as it ends"})
		}
		z.mu.Lock()
		z.final = Report{Steps: z.steps, Frozen: time.Since(z.began), Err: err}
		z.mu.Unlock()
	})
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.final
}

// lateWait is how long a thaw waits for a step of freezing that is given up.
const lateWait = hook.Grace + time.Second

// within waits until c is closed, for t at most, and reports whether it is.
func within(c <-chan struct{}, t time.Duration) bool {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-c:
		return true
	case <-timer.C:
		return false
	}
}

// behind returns what thawing has not reached.
func (z *Frozen) behind() error {
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.missed
}

// stillOpen returns what is closed once every step of freezing has ended, or nil
// if all have. Until then the note stays, and nothing else is frozen.
func (z *Frozen) stillOpen() chan struct{} {
	z.mu.Lock()
	defer z.mu.Unlock()
	if z.open == 0 {
		return nil
	}
	z.done = make(chan struct{})
	return z.done
}

func (z *Frozen) thawAll(scripts []hook.Script, mounts []string, why string) (failed error) {
	again := func(what string, step func() error) {
		var err error
		for i := range thawTries {
			if i > 0 {
				time.Sleep(thawPause)
			}
			if err = step(); err == nil {
				return
			}
		}
		z.f.o.Logger.Error("NOT THAWED", "step", what, "err", err, "hint", redoubt.Hint(err))
		failed = errors.Join(failed, err)
	}
	for i := len(mounts) - 1; i >= 0; i-- {
		again("mount "+mounts[i], func() error { return z.thawMount(mounts[i]) })
	}
	for i := len(scripts) - 1; i >= 0; i-- {
		again("script "+scripts[i].Name, func() error { return z.script(context.Background(), scripts[i], "thaw", why) })
	}
	return failed
}

// thawMount gives a stuck kernel as long as a step may take.
func (z *Frozen) thawMount(path string) error {
	begin := time.Now()
	answer := make(chan error, 1)
	go func() { answer <- thawMount(path) }()
	t := time.NewTimer(z.f.o.Step)
	defer t.Stop()
	var err error
	select {
	case err = <-answer:
	case <-t.C:
		err = mountError("thaw", path, fmt.Errorf("not done after %s: %w", z.f.o.Step, redoubt.ErrScript), "")
	}
	z.add(Step{What: "thaw mount " + path, Took: time.Since(begin), Err: err})
	return err
}

func (z *Frozen) report() Report {
	z.mu.Lock()
	defer z.mu.Unlock()
	return Report{Steps: z.steps, Frozen: time.Since(z.began)}
}
