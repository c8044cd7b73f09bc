package source

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// hookOutput is how much of a hook's output is told, in bytes from its end.
const hookOutput = 256

// hook runs the group's script with the argument what ("freeze" or "thaw"),
// REDOUBT_GROUP and REDOUBT_JOB in its environment, in a process group of its
// own, which is killed at the time limit.
func (g *Group) hook(ctx context.Context, what string, job uint64) error {
	ctx, cancel := context.WithTimeout(ctx, g.cfg.FreezeTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, g.cfg.Freeze, what)
	cmd.Env = append(cmd.Environ(), "REDOUBT_GROUP="+string(g.cfg.Name), "REDOUBT_JOB="+strconv.FormatUint(job, 10))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second // for a grandchild that holds the pipe
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	err := cmd.Run()
	if err == nil {
		g.log.Info("hook", "hook", g.cfg.Freeze, "what", what, "took", time.Since(began).Round(time.Millisecond))
		return nil
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("not done after %s: %w", g.cfg.FreezeTimeout, ctx.Err())
	}
	return &redoubt.Error{Op: "run " + what + " hook", Object: g.cfg.Freeze, Err: fmt.Errorf("%w: %w", redoubt.ErrState, err), Hint: "it said: " + out.String()}
}

// thaw runs the thaw hook if it is due. A failure is logged, and it is tried
// again at the next start: nothing else waits for it.
func (g *Group) thaw(context.Context) {
	s := g.leftover()
	if !s.Frozen {
		return
	}
	// Not the caller's context: applications must not stay frozen because the daemon ends.
	if g.cfg.Freeze != "" {
		if err := g.hook(context.Background(), "thaw", s.Job); err != nil {
			g.log.Error("the thaw hook failed; it is tried again at the next start", "err", err, "hint", redoubt.Hint(err))
			return
		}
	}
	s.Frozen = false
	if !s.Held {
		s = stopped{Forced: s.Forced}
	}
	if err := g.keepStopped(s); err != nil {
		g.log.Error("that the thaw hook has run could not be noted; it may run again", "err", err)
	}
}

// tail keeps the last bytes that were written to it.
type tail struct{ b bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	t.b.Write(p)
	if over := t.b.Len() - hookOutput; over > 0 {
		t.b.Next(over)
	}
	return len(p), nil
}

func (t *tail) String() string { return strings.ToValidUTF8(strings.TrimSpace(t.b.String()), "") }
