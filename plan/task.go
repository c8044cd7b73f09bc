package plan

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// closeRetry is the first pause before groups are closed again; it doubles.
const (
	closeRetry    = time.Second
	closeRetryMax = 30 * time.Second
)

// move opens a group, or fails it over or back.
func (dr *drive) move(s Step, st *catalog.RunStep) error {
	g, ok := dr.d.o.Cluster.Catalog().Group(redoubt.GroupID(s.Group.Name))
	if !ok {
		if err := dr.begin(s, 0); err != nil {
			return err
		}
		return dr.finish(s, nil, Output{}, &redoubt.Error{Op: "find group", Object: s.Group.Name, Err: redoubt.ErrNotFound, Hint: "redoubt group list names the groups"})
	}
	s.Node = dr.place(s, &g, st)
	if err := dr.begin(s, g.Epoch); err != nil {
		return err
	}
	r, err := dr.now()
	if err != nil {
		return err
	}
	m := moveOf(s, r)
	dr.log.Info("a group is moved", "step", s.Key, "node", s.Node, "point", r.Point)
	ds, err := dr.d.o.Site.Move(dr.ctx, m)
	if ds == nil {
		ds = []Disk{}
	}
	return dr.finish(s, ds, Output{}, err)
}

// place says which node opens the group: the one that began to, the plan's, or
// the owner of its stream. One that is dead is replaced if the plan names none.
func (dr *drive) place(s Step, g *catalog.Group, st *catalog.RunStep) string {
	if st.Node != "" && (s.Node != "" || dr.d.o.Cluster.Alive(st.Node)) {
		return string(st.Node)
	}
	switch {
	case s.Node != "":
		return s.Node
	case dr.d.o.Cluster.Alive(g.Owner):
		return string(g.Owner)
	}
	return string(dr.d.o.ID)
}

func moveOf(s Step, r *catalog.Run) Move {
	m := Move{Run: r.ID(), Group: redoubt.GroupID(s.Group.Name), Kind: r.Kind, Direction: r.Direction, Point: r.Point, Node: redoubt.NodeID(s.Node), Hydrate: s.Group.Hydrate, By: r.By}
	if st := r.Step(s.Stage + "/group/" + s.Group.Name); st != nil {
		m.Before, m.Attempt = redoubt.Epoch(st.Mark), st.Attempt
		if s.Undoing() {
			m.Node = st.Node
		}
	}
	return m
}

// close takes back what a group's step did. What a node that cannot be reached
// may have open is closed later: the others do not wait for it.
func (dr *drive) close(s Step, r *catalog.Run) error {
	m := moveOf(s, r)
	s.Node = string(m.Node)
	if m.Attempt == 0 {
		return dr.nothing(s, "it was never opened")
	}
	if dr.isSettled(s.Key) {
		return nil
	}
	if err := dr.begin(s, 0); err != nil {
		return err
	}
	note, err := dr.d.o.Site.Close(dr.ctx, m)
	again := errors.Is(err, redoubt.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded)
	if again {
		dr.again.Store(true)
	} else {
		dr.settle(s.Key)
	}
	return dr.finish(s, nil, Output{Tail: []byte(note), Bytes: uint64(len(note))}, err)
}

// settle notes that another attempt of this life would end in the same way.
func (dr *drive) settle(key string) {
	dr.mu.Lock()
	defer dr.mu.Unlock()
	dr.settled = append(dr.settled, key)
}

func (dr *drive) isSettled(key string) bool {
	dr.mu.Lock()
	defer dr.mu.Unlock()
	return slices.Contains(dr.settled, key)
}

// nothing records that there was nothing to do.
func (dr *drive) nothing(s Step, note string) error {
	if err := dr.begin(s, 0); err != nil {
		return err
	}
	return dr.finish(s, nil, Output{Tail: []byte(note), Bytes: uint64(len(note))}, nil)
}

// script runs a script, also again if it was under way when the node that
// carried the run out died.
func (dr *drive) script(s Step, r *catalog.Run, st *catalog.RunStep) error {
	if s.Undoing() {
		if st.State == catalog.TaskFailed {
			return nil // what it was for is closed all the same
		}
		if !begun(r, s.Stage) {
			return dr.nothing(s, "nothing was begun in this stage")
		}
	}
	if err := dr.begin(s, 0); err != nil {
		return err
	}
	env, err := environ(r, s, st.Attempt+1)
	if err != nil {
		return dr.finish(s, nil, Output{}, err)
	}
	dr.log.Info("a script is run", "step", s.Key, "node", s.Node, "script", s.Action.Script)
	out, err := dr.d.o.Site.Script(dr.ctx, Script{Run: dr.id, Step: s.Key, Node: redoubt.NodeID(s.Node), Name: s.Action.Script, Args: s.Action.Args, Env: env,
		Limit: s.Limit(), Leave: s.Action.Leave})
	return dr.finish(s, nil, out, err)
}

// begun reports whether a step of the stage, other than its cleanup, was tried.
func begun(r *catalog.Run, stage string) bool {
	for i := range r.Steps {
		st := &r.Steps[i]
		if name, _, _ := strings.Cut(st.Key, "/"); name == stage && st.Attempt > 0 && st.Type != catalog.TaskSweep && st.Type != catalog.TaskClose {
			return true
		}
	}
	return false
}

// maxStepText bounds an error and a hint in the catalog, in bytes.
const maxStepText = 1000

func clip(s string) string {
	if len(s) > maxStepText {
		s = strings.ToValidUTF8(s[:maxStepText], "") + "…"
	}
	return s
}

// Start begins a run of a plan, which this node carries out.
func (d *Driver) Start(ctx context.Context, name string, kind catalog.RunKind, direction catalog.RunDirection, point, by string) (catalog.Run, error) {
	for {
		rp, ok := d.o.Cluster.Catalog().RecoveryPlan(name)
		if !ok {
			return catalog.Run{}, &redoubt.Error{Op: "find plan", Object: name, Err: redoubt.ErrNotFound, Hint: "redoubt plan list names the plans"}
		}
		p, err := Parse(rp.Text, nil)
		if err != nil {
			return catalog.Run{}, &redoubt.Error{Op: "read plan", Object: name, Err: err, Hint: "put it again with the version that runs now"}
		}
		c := catalog.StartRun{Plan: name, Version: rp.Version, Number: rp.Runs + 1, Kind: kind, Direction: direction, Point: point, By: by, Holder: d.o.ID, Now: d.o.Now().UnixNano()}
		for _, s := range p.Steps(kind, direction) {
			c.Steps = append(c.Steps, catalog.NewStep{Key: s.Key, Type: s.Type})
		}
		d.hold(catalog.RunID(name, c.Number), 1)
		if _, err = d.o.Cluster.Propose(ctx, c); err == nil {
			r, _ := d.o.Cluster.Catalog().Run(name, c.Number)
			return r, nil
		}
		now, _ := d.o.Cluster.Catalog().RecoveryPlan(name)
		if !errors.Is(err, redoubt.ErrExists) || now.Version == rp.Version && now.Runs == rp.Runs {
			return catalog.Run{}, err
		}
	}
}
