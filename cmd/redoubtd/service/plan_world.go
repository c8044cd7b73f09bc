package service

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/plan"
)

// askScripts bounds the question to one node.
const askScripts = 10 * time.Second

// planWorld is what the plan is held against. unknown says what nobody could tell.
func (s *Service) planWorld(ctx context.Context, p *plan.Plan) (w *plan.World, unknown []string) {
	w = &plan.World{Scripts: map[plan.ScriptAt]error{}}
	sources := map[string]bool{}
	for _, g := range s.target.Node.Catalog().Groups() {
		w.Groups = append(w.Groups, string(g.ID))
		sources[g.Source] = true
	}
	w.Sources = slices.Sorted(maps.Keys(sources))
	for _, n := range s.target.Node.Catalog().Nodes() {
		w.Targets = append(w.Targets, string(n.ID))
	}
	byNode := map[string][]string{}
	for _, at := range p.Scripts() {
		if slices.Contains(w.Targets, at.Node) || slices.Contains(w.Sources, at.Node) {
			byNode[at.Node] = append(byNode[at.Node], at.Script)
		}
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for node, scripts := range byNode {
		wg.Go(func() {
			errs, err := s.askScripts(ctx, redoubt.NodeID(node), scripts)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				unknown = append(unknown, fmt.Sprintf("scripts at %s: %v", node, err))
				return
			}
			for i, e := range errs {
				w.Scripts[plan.ScriptAt{Node: node, Script: scripts[i]}] = e
			}
		})
	}
	wg.Wait()
	slices.Sort(unknown)
	return w, unknown
}

// askScripts asks a node what is wrong with scripts of its.
func (s *Service) askScripts(ctx context.Context, node redoubt.NodeID, scripts []string) ([]error, error) {
	if node == redoubt.NodeID(s.node.Name) {
		return s.checkScripts(scripts), nil
	}
	c, err := s.anyNode(node)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(ctx, askScripts)
	defer cancel()
	r, err := c.CheckPlanScripts(ctx, &adminv1.CheckPlanScriptsRequest{Scripts: scripts})
	if err != nil {
		return nil, err
	}
	if len(r.Errors) != len(scripts) || len(r.Hints) != len(scripts) {
		return nil, &redoubt.Error{Op: "check scripts at", Object: string(node), Err: redoubt.ErrVersion}
	}
	out := make([]error, len(scripts))
	for i, msg := range r.Errors {
		if msg != "" {
			out[i] = &redoubt.Error{Op: "use script", Object: scripts[i], Err: errors.New(msg), Hint: r.Hints[i]}
		}
	}
	return out, nil
}

// anyNode returns a client of a master target or of a group's source.
func (s *Service) anyNode(node redoubt.NodeID) (*admin.Client, error) {
	c := s.target.Node.Catalog()
	if n, ok := c.Node(node); ok && n.State.Member() {
		return admin.Dial("https://"+n.Addr, s.node.Credentials)
	}
	for _, g := range c.Groups() {
		if g.Source == string(node) && g.SourceAddr != "" {
			return admin.Dial("https://"+g.SourceAddr, s.node.Credentials)
		}
	}
	return nil, &redoubt.Error{Op: "find node", Object: string(node), Err: redoubt.ErrNotFound, Hint: "a master target, or the source of a group"}
}

// commonInstant is the latest time of which the secondary has the writes of all groups.
func (s *Service) commonInstant(groups []string) (time.Time, error) {
	var at time.Time
	for _, id := range groups {
		g, ok := s.target.Node.Catalog().Group(redoubt.GroupID(id))
		if !ok {
			return at, &redoubt.Error{Op: "find group", Object: id, Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
		}
		if g.Baseline == 0 || g.CommittedTime == 0 {
			return at, &redoubt.Error{Op: "find a common point of", Object: id, Err: fmt.Errorf("it has no recovery point yet: %w", redoubt.ErrState), Hint: "wait for the end of the first copy"}
		}
		t := time.Unix(0, g.CommittedTime)
		// A group that is idle has everything up to its writer's last word.
		if head, _, contact := s.target.Store.Head(g.ID); head <= g.Committed.LSN && contact.After(t) {
			t = contact
		}
		if at.IsZero() || t.Before(at) {
			at = t
		}
	}
	return at, nil
}
