package crashtest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Options say what Run does.
type Options struct {
	// Seed decides the workloads and what goes wrong in each round: round n is
	// that of seed+n. Goroutines still run as they like.
	Seed uint64
	// Time bounds the run: half of it goes to the simulation, half to real kills.
	Time time.Duration
	// Dir is where real kills are done: in a new folder, which is removed unless
	// something was found.
	Dir string
	// Command starts a worker; nil: there are no real kills.
	Command Command
	// Broken is the variants that are to be caught. Without any, the product
	// itself is judged.
	Broken []Mode
	// Out takes lines for people; nil: none are written.
	Out io.Writer
	// Now is the clock, default time.Now.
	Now func() time.Time
}

// Result is what Run found.
type Result struct {
	Seed     uint64   `json:"seed"`
	Seconds  float64  `json:"seconds"`
	Tally    Tally    `json:"tally"`
	Findings []string `json:"findings"`
	Broken   []Caught `json:"broken"`
	Verdict  string   `json:"verdict"`
}

// Caught says how a broken variant was found out.
type Caught struct {
	Mode    Mode    `json:"mode"`
	Caught  bool    `json:"caught"`
	Seconds float64 `json:"seconds"`
	Crashes int64   `json:"crashes"` // until then
	Finding string  `json:"finding"`
}

// runner is one Run.
type runner struct {
	o Options
	r Result
}

// Run judges the product, or with Options.Broken the judge. The error wraps
// redoubt.ErrCorrupt when something was lost; a broken variant that was not
// caught is an error, too. The Result is valid in any case.
func Run(ctx context.Context, o Options) (Result, error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	if o.Command != nil {
		if err := folder(o.Dir); err != nil {
			return Result{Seed: o.Seed, Findings: []string{}, Broken: []Caught{}, Verdict: err.Error()}, err
		}
	}
	x := &runner{o: o, r: Result{Seed: o.Seed, Findings: []string{}, Broken: []Caught{}}}
	began := o.Now()
	x.say("seed %d, at most %s", o.Seed, o.Time)
	var err error
	if len(o.Broken) > 0 {
		err = x.broken(ctx)
	} else {
		err = x.sound(ctx)
	}
	x.r.Seconds = o.Now().Sub(began).Seconds()
	return x.r, err
}

// folder refuses a place for real kills that is not a folder: a name that is
// misspelt would test another disk.
func folder(dir string) error {
	st, err := os.Stat(dir)
	if err == nil && !st.IsDir() {
		err = fmt.Errorf("not a folder: %w", redoubt.ErrInvalid)
	} else if errors.Is(err, fs.ErrNotExist) {
		err = redoubt.ErrNotFound
	}
	if err != nil {
		return &redoubt.Error{Op: "crash test in", Object: dir, Err: err, Hint: "name a folder that is there, on the disk to be tested"}
	}
	return nil
}

// say writes a line.
func (x *runner) say(format string, v ...any) { fmt.Fprintf(x.o.Out, format+"\n", v...) }

// sound judges the product.
func (x *runner) sound(ctx context.Context) error {
	part := x.o.Time
	if x.o.Command != nil {
		part /= 2
	}
	simErr := x.within(ctx, part, func(ctx context.Context) error { return x.simulate(ctx, Sound) })
	t := x.r.Tally
	x.say("simulated: %d rounds, %d power cuts, %d kills, %d failing recoveries, %d failing disks", t.Rounds, t.Cuts, t.Kills, t.Recoveries, t.Faults)
	x.say("simulated: %d lying syncs and %d changed bytes, %d noticed at open, the others without effect", t.Lies, t.Damaged, t.Noticed)
	var killErr error
	if x.o.Command != nil && ctx.Err() == nil {
		killErr = x.within(ctx, part, func(ctx context.Context) error { return x.kill(ctx, Sound) })
		x.say("real: %d processes killed in %s", x.r.Tally.RealKills, x.o.Dir)
	}
	return x.conclude(simErr, killErr)
}

// conclude writes the verdict.
func (x *runner) conclude(errs ...error) error {
	var other error
	for _, err := range errs {
		if err == nil {
			continue
		}
		if n := breach(err); n > 0 {
			x.r.Tally.Lost += n
			x.r.Findings = append(x.r.Findings, err.Error())
			x.say("found: %v", err)
			continue
		}
		other = errors.Join(other, err)
	}
	t, word := x.r.Tally, "ok"
	switch {
	case t.Lost > 0:
		word = "FAILED"
	case other != nil:
		word = "not finished"
	}
	x.r.Verdict = fmt.Sprintf("%s: %d rounds, %d crashes, %d acknowledged and %d flushed writes checked, %d lost (seed %d)",
		word, t.Rounds, t.Crashes(), t.Acknowledged, t.Flushed, t.Lost, x.o.Seed)
	x.say("%s", x.r.Verdict)
	if t.Lost > 0 {
		return &redoubt.Error{Op: "crash test", Err: fmt.Errorf("%d writes lost: %w", t.Lost, redoubt.ErrCorrupt),
			Hint: "do not trust this disk and kernel with data; report the findings with the seed"}
	}
	return other
}

// breach returns how many writes err says are lost, 0 if it says nothing of the kind.
func breach(err error) int64 {
	var f *Finding
	switch {
	case errors.As(err, &f):
		return f.Lost
	case errors.Is(err, redoubt.ErrCorrupt), errors.Is(err, redoubt.ErrGap):
		return 1 // acknowledged data that cannot be opened is lost
	}
	return 0
}

func (x *runner) within(ctx context.Context, d time.Duration, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return fn(ctx)
}

// simulate runs worlds until ctx ends or one has a finding.
func (x *runner) simulate(ctx context.Context, mode Mode) error {
	for n := uint64(0); ctx.Err() == nil; n++ {
		var t Tally
		err := live(x.o.Seed+n, mode, &t)
		x.r.Tally.add(t)
		if err != nil {
			return fmt.Errorf("round of seed %d: %w", x.o.Seed+n, err)
		}
	}
	return nil
}

// kill runs real kills until ctx ends or there is a finding.
func (x *runner) kill(ctx context.Context, mode Mode) error {
	var t Tally
	err := killRounds(ctx, x.o.Dir, x.o.Seed, mode, x.o.Command, &t)
	x.r.Tally.add(t)
	return err
}

// broken runs each variant until it is caught.
func (x *runner) broken(ctx context.Context) error {
	part := x.o.Time / time.Duration(len(x.o.Broken))
	missed := 0
	for _, m := range x.o.Broken {
		if m == EarlyReply && x.o.Command == nil {
			continue
		}
		began, crashes := x.o.Now(), x.r.Tally.Crashes()
		run := x.simulate
		if m == EarlyReply {
			run = x.kill
		}
		err := x.within(ctx, part, func(ctx context.Context) error { return run(ctx, m) })
		if err != nil && breach(err) == 0 {
			return err
		}
		c := Caught{Mode: m, Caught: err != nil, Seconds: x.o.Now().Sub(began).Seconds(), Crashes: x.r.Tally.Crashes() - crashes}
		if err != nil {
			c.Finding = err.Error()
			x.say("%s: caught after %d crashes, %.1f s: %s", m, c.Crashes, c.Seconds, c.Finding)
		} else {
			missed++
			x.say("%s: NOT caught, %d crashes, %.1f s", m, c.Crashes, c.Seconds)
		}
		x.r.Broken = append(x.r.Broken, c)
	}
	x.r.Verdict = fmt.Sprintf("ok: %d of %d broken variants caught (seed %d)", len(x.r.Broken)-missed, len(x.r.Broken), x.o.Seed)
	if missed > 0 {
		x.r.Verdict = "FAILED" + x.r.Verdict[len("ok"):]
	}
	x.say("%s", x.r.Verdict)
	if missed > 0 {
		return &redoubt.Error{Op: "crash test", Err: fmt.Errorf("the judge overlooked %d broken variants", missed), Hint: "give it more time with --seconds; if that does not help, its verdict on the product is worth nothing"}
	}
	return nil
}
