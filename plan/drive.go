package plan

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// ErrCancelled is the cause of the context of a step whose run was cancelled.
var ErrCancelled = errors.New("the run was cancelled")

var (
	errMoved = errors.New("another node carries the run out")
	errAlone = fmt.Errorf("most of the nodes do not answer: %w", redoubt.ErrUnavailable)
)

// drive carries out one phase of a run under one term: its steps, or its cleanup.
type drive struct {
	d      *Driver
	id     string
	plan   string
	number uint64
	term   uint64
	phase  catalog.RunState
	log    *slog.Logger
	ctx    context.Context
	stop   context.CancelCauseFunc

	again   atomic.Bool // a group could not be closed yet
	mu      sync.Mutex
	settled []string // steps that failed and are not tried again
}

// run carries out what has no result yet. It ends without an error when the
// phase is over, and with one when it is to be taken up again.
func (dr *drive) run() error {
	r, err := dr.now()
	if err != nil {
		return err
	}
	p, err := Parse(r.Text, nil)
	if err != nil { // it was valid when it was stored: by another version
		return dr.impossible(err)
	}
	if dr.phase == catalog.RunUndoing {
		return dr.undo(p.Steps(r.Kind, r.Direction))
	}
	for _, batch := range Batches(p.Steps(r.Kind, r.Direction)) {
		if batch[0].Undoing() {
			break
		}
		if err := dr.batch(batch); err != nil {
			return err
		}
		if r, err = dr.now(); err != nil {
			return err
		}
		for i := range batch {
			if r.Step(batch[i].Key).State == catalog.TaskFailed && batch[i].stops(r.Kind) {
				return dr.event(dr.ctx, catalog.EventStop, catalog.RunStep{})
			}
		}
	}
	return dr.event(dr.ctx, catalog.EventConclude, catalog.RunStep{})
}

// undo takes back what was done, as often as it takes while nodes cannot be reached.
func (dr *drive) undo(steps []Step) error {
	for pause := closeRetry; ; pause = min(2*pause, closeRetryMax) {
		dr.again.Store(false)
		for _, batch := range Batches(steps) {
			if !batch[0].Undoing() {
				continue
			}
			if err := dr.batch(batch); err != nil {
				return err
			}
		}
		if !dr.again.Load() {
			return dr.event(dr.ctx, catalog.EventConclude, catalog.RunStep{})
		}
		if err := sleep(dr.ctx, pause); err != nil {
			return err
		}
	}
}

// impossible stops a run whose plan cannot be read any more.
func (dr *drive) impossible(err error) error {
	if dr.phase == catalog.RunRunning {
		return errors.Join(err, dr.event(dr.ctx, catalog.EventStop, catalog.RunStep{}))
	}
	return err
}

// batch carries out steps at the same time.
func (dr *drive) batch(steps []Step) error {
	errs := make([]error, len(steps))
	var wg sync.WaitGroup
	for i := range steps {
		wg.Go(func() { errs[i] = dr.step(steps[i]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// step carries out one step, unless it has a result.
func (dr *drive) step(s Step) error {
	r, err := dr.now()
	if err != nil {
		return err
	}
	st := r.Step(s.Key)
	if st == nil || st.Type != s.Type {
		return &redoubt.Error{Op: "carry out", Object: dr.id, Err: fmt.Errorf("step %s is not in the run: %w", s.Key, redoubt.ErrVersion), Hint: "run the same version on all nodes"}
	}
	switch st.State {
	case catalog.TaskDone, catalog.TaskSkipped:
		return nil
	case catalog.TaskFailed:
		if !s.Undoing() {
			return nil
		}
	}
	switch s.Type {
	case catalog.TaskConfirm:
		return dr.await(s, st)
	case catalog.TaskGroup:
		return dr.move(s, st)
	case catalog.TaskClose:
		return dr.close(s, r)
	}
	return dr.script(s, r, st)
}

// await waits for an operator.
func (dr *drive) await(s Step, st *catalog.RunStep) error {
	if st.State != catalog.TaskWaiting {
		if err := dr.begin(s, 0); err != nil {
			return err
		}
	}
	dr.log.Info("a step waits for a confirmation", "step", s.Key, "question", s.Action.Confirm)
	here := dr.d.o.Now()
	for {
		changed := dr.d.o.Cluster.Catalog().Changed()
		r, err := dr.now()
		if err != nil {
			return err
		}
		st = r.Step(s.Key)
		if st.State != catalog.TaskWaiting {
			return nil
		}
		left := time.Hour
		if limit := s.Limit(); limit > 0 {
			now := dr.d.o.Now()
			// Also by this node's own waiting: the clock may have been set back since it began.
			left = limit - max(now.Sub(time.Unix(0, st.Started)), now.Sub(here))
			if left <= 0 {
				return dr.finish(s, nil, Output{}, &redoubt.Error{Op: "confirm", Object: s.Key, Err: fmt.Errorf("nobody answered within %s: %w", limit, redoubt.ErrUnavailable)})
			}
		}
		t := time.NewTimer(left)
		select {
		case <-changed:
		case <-t.C:
		case <-dr.ctx.Done():
			t.Stop()
			return context.Cause(dr.ctx)
		}
		t.Stop()
	}
}

// now returns the run as it is, or an error if it is not this drive's any more.
func (dr *drive) now() (*catalog.Run, error) {
	if dr.ctx.Err() != nil {
		return nil, context.Cause(dr.ctx)
	}
	r, ok := dr.d.o.Cluster.Catalog().Run(dr.plan, dr.number)
	switch {
	case !ok || r.Term != dr.term:
		return nil, errMoved
	case r.State != dr.phase:
		return nil, ErrCancelled
	}
	return &r, nil
}

func (dr *drive) begin(s Step, before redoubt.Epoch) error {
	return dr.event(dr.ctx, catalog.EventBegin, catalog.RunStep{Key: s.Key, Node: redoubt.NodeID(s.Node), Mark: uint64(before)})
}

// recordTime bounds how long the result of a step that was cancelled is recorded.
const recordTime = 30 * time.Second

// finish records how a step went. That of a step that was cancelled with its
// run is recorded, too; that of a node that lost the run is not.
func (dr *drive) finish(s Step, ds []Disk, out Output, failure error) error {
	if cause := context.Cause(dr.ctx); cause != nil && !errors.Is(cause, ErrCancelled) {
		return cause
	}
	st := catalog.RunStep{Key: s.Key, Node: redoubt.NodeID(s.Node), State: catalog.TaskDone, Bytes: out.Bytes, Digest: out.Digest, Output: out.Tail}
	if ds != nil {
		st.Output = formatDisks(ds)
		st.Bytes = uint64(len(st.Output))
	}
	if len(st.Output) > catalog.MaxStepOutput {
		st.Output = nil
		if failure == nil {
			failure = &redoubt.Error{Op: "record disks of", Object: s.Key, Err: fmt.Errorf("%d bytes: %w", st.Bytes, redoubt.ErrInvalid), Hint: "a group of fewer disks"}
		}
	}
	if failure != nil {
		st.State, st.Error, st.Hint = catalog.TaskFailed, failure.Error(), redoubt.Hint(failure)
		dr.log.Warn("a step failed", "step", s.Key, "err", failure, "hint", st.Hint)
	}
	ctx, cancel := context.WithTimeout(dr.d.ctx, recordTime)
	defer cancel()
	return dr.event(ctx, catalog.EventFinish, st)
}

func (dr *drive) event(ctx context.Context, ev catalog.RunEvent, st catalog.RunStep) error {
	_, err := dr.d.o.Cluster.Propose(ctx, Event(catalog.AdvanceRun{Plan: dr.plan, Number: dr.number, Term: dr.term, Event: ev, Now: dr.d.o.Now().UnixNano(), Step: st}))
	return err
}

// Event fills in what the format wants of an event and cuts what is too long.
func Event(c catalog.AdvanceRun) catalog.AdvanceRun {
	if c.Step.Type == 0 {
		c.Step.Type = catalog.TaskScript
	}
	if c.Step.State == 0 {
		c.Step.State = catalog.TaskPending
	}
	c.Step.Error, c.Step.Hint = clip(c.Step.Error), clip(c.Step.Hint)
	return c
}
