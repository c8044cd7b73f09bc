package hook

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

const (
	// MaxOutput is the largest number of bytes of output that are kept.
	MaxOutput = 64 << 10
	// MaxLimit is the longest time limit.
	MaxLimit = 24 * time.Hour
	// Grace is what a script gets between SIGTERM and SIGKILL.
	Grace = 5 * time.Second
	// stragglers is how long output is read that others hold open once the
	// script itself has ended.
	stragglers = 200 * time.Millisecond
)

// Job says how a script is run.
type Job struct {
	Args []string
	Env  []string      // NAME=VALUE; added to the environment that every script has
	Time time.Duration // limit; more than 0, at most MaxLimit
	// Grace is the time between SIGTERM and SIGKILL; 0: the constant Grace.
	Grace time.Duration
	// Output is how many of the last bytes of output are kept; 0: MaxOutput.
	Output int
	// Leave lets processes live on that a script has started and not waited
	// for. They must have redirected their output. Otherwise they are killed.
	Leave bool
}

// Result is how a script went. It holds as far as the script came, also if
// there is an error.
type Result struct {
	Script   string
	Started  time.Time
	Took     time.Duration
	Exit     int  // code; -1 if it was killed or never began
	TimedOut bool // or given up by the caller
	Output   Output
}

// Run runs the script to its end, its time limit or that of ctx. The error wraps
// redoubt.ErrScript if it ended with another code than 0, was killed or came to
// its limit.
func (s Script) Run(ctx context.Context, j Job) (Result, error) {
	if j.Time <= 0 || j.Time > MaxLimit {
		return Result{Script: s.Name, Exit: -1}, bad("run script", s.Path, fmt.Errorf("time limit %s: %w", j.Time, redoubt.ErrInvalid), "more than 0, at most "+MaxLimit.String())
	}
	out := newTail(j.Output)
	cmd := exec.Command(s.Path, j.Args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", out, out
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", "LC_ALL=C.UTF-8"}, j.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = stragglers
	r := Result{Script: s.Name, Started: time.Now(), Exit: -1}
	if err := cmd.Start(); err != nil {
		return r, bad("run script", s.Path, fmt.Errorf("%w: %w", err, redoubt.ErrScript), "is its first line the path of an interpreter?")
	}
	r.TimedOut = attend(ctx, cmd.Process.Pid, j)
	err := cmd.Wait()
	r.Took, r.Exit, r.Output = time.Since(r.Started), cmd.ProcessState.ExitCode(), out.output()
	if errors.Is(err, exec.ErrWaitDelay) && r.Exit == 0 {
		err = nil // somebody else holds the output open
	}
	return r, s.verdict(ctx, j, &r, err)
}

// attend waits until the process has ended, without reaping it, so that its
// group cannot be another one's meanwhile. It reports whether that took too long.
func attend(ctx context.Context, pid int, j Job) (late bool) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var info unix.Siginfo
		for {
			err := unix.Waitid(unix.P_PID, pid, &info, unix.WEXITED|unix.WNOWAIT, nil)
			if !errors.Is(err, unix.EINTR) {
				return
			}
		}
	}()
	limit := time.NewTimer(j.Time)
	defer limit.Stop()
	select {
	case <-ended:
	case <-limit.C:
		late = true
	case <-ctx.Done():
		late = true
	}
	if late {
		grace := j.Grace
		if grace == 0 {
			grace = Grace
		}
		_ = unix.Kill(-pid, unix.SIGTERM)
		t := time.NewTimer(grace)
		defer t.Stop()
		select {
		case <-ended:
		case <-t.C:
		}
	}
	if late || !j.Leave {
		_ = unix.Kill(-pid, unix.SIGKILL) // ESRCH cannot be: the leader is not reaped
	}
	<-ended
	return late
}

func (s Script) verdict(ctx context.Context, j Job, r *Result, err error) error {
	why := ""
	switch {
	case r.TimedOut && ctx.Err() != nil:
		why = "given up: " + context.Cause(ctx).Error()
	case r.TimedOut:
		why = "not done after " + j.Time.String()
	case err == nil:
		return nil
	case r.Exit >= 0:
		why = fmt.Sprintf("exit code %d", r.Exit)
	default:
		why = err.Error()
	}
	hint := "it wrote nothing; run it by hand"
	if l := r.Output.LastLine(); l != "" {
		hint = "its last line: " + l
	}
	return bad("run script", s.Path, fmt.Errorf("%s: %w", why, redoubt.ErrScript), hint)
}

// Environ returns the variables as Job.Env takes them; names that are empty or hold
// "=", and values with a zero byte, are left out.
func Environ(pairs ...string) (env []string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if k, v := pairs[i], pairs[i+1]; k != "" && !strings.ContainsAny(k, "=\x00") && !strings.Contains(v, "\x00") {
			env = append(env, k+"="+v)
		}
	}
	return env
}
