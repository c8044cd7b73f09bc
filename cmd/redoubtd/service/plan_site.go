package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/plan"
	"github.com/redoubt-dr/redoubt/target/export"
)

// planSite does to groups and nodes what runs of recovery plans say, through
// the same calls that operators make.
type planSite struct{ s *Service }

var _ plan.Site = planSite{}

// Move implements plan.Site.
func (p planSite) Move(ctx context.Context, m plan.Move) ([]plan.Disk, error) {
	ctx, cancel := p.while(ctx, m.Node)
	defer cancel()
	ds, err := p.move(ctx, m)
	return ds, why(ctx, err)
}

func (p planSite) move(ctx context.Context, m plan.Move) ([]plan.Disk, error) {
	point, err := admin.ParsePoint(m.Point)
	if err != nil {
		return nil, err
	}
	switch {
	case m.Direction == catalog.RunFailback:
		return nil, p.failback(ctx, m)
	case m.Kind == catalog.RunTest:
		r, err := p.s.TestFailover(ctx, &adminv1.TestFailoverRequest{Group: string(m.Group), Point: point, Node: string(m.Node), Hydrate: m.Hydrate, Label: m.Run})
		if err != nil {
			return nil, err
		}
		return planDisks(r.Export), nil
	case m.Kind == catalog.RunUnplanned:
		return p.unplanned(ctx, m, point)
	}
	return p.planned(ctx, m)
}

// unplanned fails a group over, unless that is done already.
func (p planSite) unplanned(ctx context.Context, m plan.Move, point *adminv1.PointSpec) ([]plan.Disk, error) {
	if err := p.idle(ctx, m.Group); err != nil {
		return nil, err
	}
	if done, err := p.promoted(ctx, m); err != nil || done {
		return p.production(ctx, m, err)
	}
	r, err := p.s.UnplannedFailover(ctx, &adminv1.UnplannedFailoverRequest{Group: string(m.Group), Point: point, Node: string(m.Node), Hydrate: m.Hydrate})
	if err == nil {
		return planDisks(r.Export), nil
	}
	if done, perr := p.promoted(ctx, m); perr != nil || !done {
		return nil, err
	}
	return p.production(ctx, m, nil) // the promotion stands; the disks are opened in the background
}

// promoted reports whether the group is failed over since the step first began.
func (p planSite) promoted(ctx context.Context, m plan.Move) (bool, error) {
	g, err := p.group(ctx, m.Group)
	return err == nil && g.Epoch > m.Before && g.State == catalog.StateFailoverCommitPending, err
}

func (p planSite) group(ctx context.Context, id redoubt.GroupID) (catalog.Group, error) {
	if err := p.s.target.Node.Barrier(ctx); err != nil {
		return catalog.Group{}, err
	}
	g, ok := p.s.target.Node.Catalog().Group(id)
	if !ok {
		return g, &redoubt.Error{Op: "find group", Object: string(id), Err: redoubt.ErrNotFound, Hint: "`redoubt group list` names the groups"}
	}
	return g, nil
}

// production waits until the group's disks are open at its writer.
func (p planSite) production(ctx context.Context, m plan.Move, err error) ([]plan.Disk, error) {
	for err == nil {
		var g catalog.Group
		if g, err = p.group(ctx, m.Group); err != nil {
			break
		}
		at, ok := strings.CutPrefix(g.Writer, catalog.TargetWriter(""))
		if !ok {
			return nil, &redoubt.Error{Op: "find the failed-over disks of", Object: string(m.Group), Err: fmt.Errorf("the writer is %s: %w", g.Writer, redoubt.ErrState), Hint: "somebody gave the group back"}
		}
		var list *adminv1.ListExportsResponse
		if list, err = p.exportsAt(ctx, redoubt.NodeID(at), m.Group); err != nil {
			break
		}
		for _, x := range list.Exports {
			if x.Kind == string(export.KindFailover) {
				return planDisks(x), nil
			}
		}
		t := time.NewTimer(100 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			err = context.Cause(ctx)
		}
	}
	return nil, err
}

func (p planSite) exportsAt(ctx context.Context, node redoubt.NodeID, id redoubt.GroupID) (*adminv1.ListExportsResponse, error) {
	req := &adminv1.ListExportsRequest{Group: string(id)}
	c, err := p.s.elsewhere(ctx, node)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return p.s.ListExports(ctx, req)
	}
	defer c.Close()
	return c.ListExports(ctx, req)
}

// failback moves the writer back, after reverse replication if that was not on.
func (p planSite) failback(ctx context.Context, m plan.Move) error {
	if err := p.idle(ctx, m.Group); err != nil {
		return err
	}
	g, err := p.group(ctx, m.Group)
	if err != nil {
		return err
	}
	req := string(m.Group)
	switch {
	case g.Epoch > m.Before && g.Writer == catalog.SourceWriter(g.Source):
		return nil // done by an earlier attempt
	case g.State == catalog.StateFailoverCommitPending:
		return &redoubt.Error{Op: "fail back", Object: req, Err: fmt.Errorf("its failover is not committed: %w", redoubt.ErrState), Hint: "redoubt failover commit " + req + ", or cancel"}
	case g.State == catalog.StateFailedOver:
		if _, err := p.s.ReverseReplicate(ctx, &adminv1.ReverseReplicateRequest{Group: req}); err != nil {
			return err
		}
	}
	_, err = p.s.Failback(ctx, &adminv1.FailbackRequest{Group: req})
	if err == nil {
		return nil
	}
	if g, gerr := p.group(ctx, m.Group); gerr == nil && g.Epoch > m.Before && g.Writer == catalog.SourceWriter(g.Source) {
		return nil
	}
	return err
}

// Close implements plan.Site.
func (p planSite) Close(ctx context.Context, m plan.Move) (string, error) {
	if m.Kind == catalog.RunTest {
		return p.closeTests(ctx, m)
	}
	g, err := p.group(ctx, m.Group)
	switch {
	case err != nil:
		return "", err
	case g.Epoch <= m.Before:
		return "it was not failed over", nil
	case g.State != catalog.StateFailoverCommitPending:
		return "left as it is: " + g.State.String(), nil
	}
	r, err := p.s.CancelFailover(ctx, &adminv1.CancelFailoverRequest{Group: string(m.Group)})
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("given back to %s, epoch %d", r.Writer, r.Epoch), nil
}

// closeTests ends what the run opened of the group: on its node, or on all nodes
// if it was begun more than once, because it may have been on another one then.
func (p planSite) closeTests(ctx context.Context, m plan.Move) (string, error) {
	req := &adminv1.CleanupTestRequest{Group: string(m.Group), Label: m.Run}
	var note []string
	var errs []error
	for _, n := range p.s.target.Node.Catalog().Nodes() {
		if m.Attempt == 1 && n.ID != m.Node {
			continue
		}
		r, err := p.cleanupAt(ctx, n.ID, req)
		if err != nil {
			errs = append(errs, &redoubt.Error{Op: "clean up at", Object: string(n.ID), Err: err, Hint: "bring the node back, or remove it; the cleanup goes on then"})
			continue
		}
		note = append(note, r.Ids...)
	}
	return strings.Join(note, " "), errors.Join(errs...)
}

func (p planSite) cleanupAt(ctx context.Context, node redoubt.NodeID, req *adminv1.CleanupTestRequest) (*adminv1.CleanupTestResponse, error) {
	ctx, cancel := p.while(ctx, node)
	defer cancel()
	c, err := p.s.elsewhere(ctx, node)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return p.s.CleanupTest(ctx, req)
	}
	defer c.Close()
	r, err := c.CleanupTest(ctx, req)
	return r, why(ctx, err)
}

// Script implements plan.Site.
func (p planSite) Script(ctx context.Context, sc plan.Script) (plan.Output, error) {
	if sc.Node == redoubt.NodeID(p.s.node.Name) {
		return p.s.runScript(ctx, sc)
	}
	ctx, cancel := p.while(ctx, sc.Node)
	defer cancel()
	c, err := p.s.anyNode(sc.Node)
	if err != nil {
		return plan.Output{}, err
	}
	defer c.Close()
	r, err := c.RunPlanScript(ctx, &adminv1.RunPlanScriptRequest{Run: sc.Run, Step: sc.Step, Script: sc.Name, Args: sc.Args, Env: sc.Env,
		Limit: durationpb.New(sc.Limit), Leave: sc.Leave})
	if err != nil {
		return plan.Output{}, why(ctx, err)
	}
	out := plan.Output{Tail: r.Output, Bytes: r.OutputBytes, Digest: r.OutputSha256}
	if r.Error != "" {
		err = &redoubt.Error{Op: "at " + string(sc.Node), Err: scriptError(r.Error), Hint: r.Hint}
	}
	return out, err
}

// scriptError is what another node says of its script.
type scriptError string

func (e scriptError) Error() string { return string(e) }
func (e scriptError) Unwrap() error { return redoubt.ErrScript }

// nodeSilent is how long a node may be silent that carries out a call. A source
// is no node of the cluster: there the connection alone tells.
const nodeSilent = 5 * time.Second

// while returns a context that ends when the node has been dead for a while:
// a call to a host without power would hang until TCP gives up.
func (p planSite) while(ctx context.Context, node redoubt.NodeID) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	if _, ok := p.s.target.Node.Catalog().Node(node); ok {
		go func() {
			tick := time.NewTicker(nodeSilent / 5)
			defer tick.Stop()
			last := time.Now()
			for time.Since(last) < nodeSilent {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				if p.s.target.Node.Alive(node) {
					last = time.Now()
				}
			}
			cancel(&redoubt.Error{Op: "reach node", Object: string(node), Err: redoubt.ErrUnavailable, Hint: "is it up? redoubt node list"})
		}()
	}
	return ctx, func() { cancel(nil) }
}

// why tells the reason for which a call was given up, if that is known better.
func why(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && errors.Is(cause, redoubt.ErrUnavailable) {
		return cause
	}
	return err
}

func planDisks(x *adminv1.Export) (out []plan.Disk) {
	for _, d := range x.GetDisks() {
		out = append(out, plan.Disk{Group: redoubt.GroupID(x.Group), Name: d.Name, Node: x.Node, URI: d.Uri, Position: admin.ToPosition(x.Position).String(), Time: x.GetTime().AsTime()})
	}
	return out
}
