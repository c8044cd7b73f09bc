package service

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/plan"
)

// keptOutput is how much of a script's output is kept, in bytes.
const keptOutput = 4 << 10

// planScripts runs scripts of this node for recovery plans. A step is run by
// one caller at a time: one that takes it over waits until what the last one
// started has ended. Its zero value is usable.
type planScripts struct {
	mu   sync.Mutex
	busy map[string]chan struct{}
}

// enter waits for its turn; leave ends it.
func (p *planScripts) enter(ctx context.Context, step string) (leave func(), err error) {
	for {
		p.mu.Lock()
		ch, busy := p.busy[step]
		if !busy {
			if p.busy == nil {
				p.busy = map[string]chan struct{}{}
			}
			mine := make(chan struct{})
			p.busy[step] = mine
			p.mu.Unlock()
			return func() {
				p.mu.Lock()
				delete(p.busy, step)
				p.mu.Unlock()
				close(mine)
			}, nil
		}
		p.mu.Unlock()
		select {
		case <-ch:
		case <-ctx.Done():
			return nil, &redoubt.Error{Op: "run script of", Object: step, Err: fmt.Errorf("an earlier attempt has not ended: %w: %w", context.Cause(ctx), redoubt.ErrUnavailable)}
		}
	}
}

// scripts returns the folder of this node's scripts.
func (s *Service) scripts() (hook.Dir, error) {
	if d := s.node.Scripts; d != "" {
		return hook.Dir(d), nil
	}
	return "", &redoubt.Error{Op: "run script at", Object: s.node.Name, Err: fmt.Errorf("the node has no script folder: %w", redoubt.ErrState), Hint: "scripts: DIR in its redoubtd.yaml"}
}

// runScript runs a script of this node. Output is returned also with an error.
func (s *Service) runScript(ctx context.Context, c plan.Script) (plan.Output, error) {
	dir, err := s.scripts()
	if err != nil {
		return plan.Output{}, err
	}
	leave, err := s.planScripts.enter(ctx, c.Run+" "+c.Step)
	if err != nil {
		return plan.Output{}, err
	}
	defer leave()
	script, err := dir.Find(c.Name)
	if err != nil {
		return plan.Output{}, err
	}
	r, err := script.Run(ctx, hook.Job{Args: c.Args, Env: c.Env, Time: c.Limit, Output: keptOutput, Leave: c.Leave})
	return plan.Output{Tail: r.Output.Tail, Bytes: r.Output.Bytes, Digest: r.Output.Digest[:]}, err
}

// RunPlanScript runs a script of this node for a master target that carries a run out.
func (s *Service) RunPlanScript(ctx context.Context, r *adminv1.RunPlanScriptRequest) (*adminv1.RunPlanScriptResponse, error) {
	if p, _ := admin.PeerFrom(ctx); !p.Local && p.Role != pki.RoleTarget {
		return nil, &redoubt.Error{Op: "authorise", Object: p.String(), Err: fmt.Errorf("scripts are run by runs of plans only: %w", redoubt.ErrDenied), Hint: "redoubt plan run"}
	}
	for _, kv := range r.GetEnv() {
		if err := checkVariable(kv); err != nil {
			return nil, err
		}
	}
	out, err := s.runScript(ctx, plan.Script{Run: r.GetRun(), Step: r.GetStep(), Name: r.GetScript(), Args: r.GetArgs(), Env: r.GetEnv(),
		Limit: r.GetLimit().AsDuration(), Leave: r.GetLeave()})
	resp := &adminv1.RunPlanScriptResponse{Output: out.Tail, OutputBytes: out.Bytes, OutputSha256: out.Digest}
	if err != nil {
		resp.Error, resp.Hint = err.Error(), redoubt.Hint(err)
	}
	return resp, nil
}

// checkVariable refuses what package plan never sets. Any other name could have
// the script do what nobody has approved: BASH_ENV, LD_PRELOAD, PATH.
func checkVariable(kv string) error {
	name, value, ok := strings.Cut(kv, "=")
	own := ok && strings.HasPrefix(name, "REDOUBT_") && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") == ""
	if !own || strings.Contains(value, "\x00") {
		return &redoubt.Error{Op: "run script with", Object: strconv.Quote(name), Err: redoubt.ErrDenied, Hint: "docs/PLANS.md lists the variables of a script; run the same version on all nodes"}
	}
	return nil
}

// maxCheckedScripts bounds one question.
const maxCheckedScripts = 1024

// CheckPlanScripts says which scripts this node can run.
func (s *Service) CheckPlanScripts(_ context.Context, r *adminv1.CheckPlanScriptsRequest) (*adminv1.CheckPlanScriptsResponse, error) {
	if len(r.GetScripts()) > maxCheckedScripts {
		return nil, &redoubt.Error{Op: "check scripts", Err: redoubt.ErrInvalid, Hint: fmt.Sprintf("at most %d at once", maxCheckedScripts)}
	}
	out := &adminv1.CheckPlanScriptsResponse{}
	for _, err := range s.checkScripts(r.GetScripts()) {
		msg, hint := "", ""
		if err != nil {
			msg, hint = err.Error(), redoubt.Hint(err)
		}
		out.Errors, out.Hints = append(out.Errors, msg), append(out.Hints, hint)
	}
	return out, nil
}

// checkScripts returns what is wrong with each script of this node.
func (s *Service) checkScripts(names []string) []error {
	out := make([]error, len(names))
	dir, err := s.scripts()
	for i, n := range names {
		if out[i] = err; err == nil {
			_, out[i] = dir.Find(n)
		}
	}
	return out
}
