package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// Propose has the cluster agree on cmd and returns what it came to, from any
// node. On return this node's catalog contains the change.
//
// It keeps trying, with the same serial, through loss of leaders and
// connections until ctx is done; the command is applied at most once. If it
// returns an error that is redoubt.ErrUnavailable and ctx is done, the outcome is unknown. All other
// errors are verdicts: nothing was changed.
func (n *Node) Propose(ctx context.Context, cmd catalog.Command) (any, error) {
	if err := catalog.Validate(cmd); err != nil {
		return nil, err
	}
	serial, floor, err := n.session.begin(ctx)
	if err != nil {
		return nil, n.gaveUp(cmd, err, nil)
	}
	defer n.session.end(serial)
	raw := catalog.EncodeEnvelope(catalog.Envelope{Client: n.session.client, Serial: serial, Floor: floor, Cmd: cmd})
	if len(raw) > catalog.MaxCommand {
		return nil, invalid("propose", catalog.Name(cmd), "too large; use smaller batches")
	}
	index, out, err := retry(ctx, n, func(ctx context.Context) (uint64, []byte, error) {
		if n.IsLeader() {
			return n.applyHere(ctx, raw)
		}
		return n.ask(ctx, methodPropose, raw)
	})
	if err != nil {
		return nil, n.gaveUp(cmd, ctx.Err(), err)
	}
	if err := n.waitIndex(ctx, index); err != nil {
		return nil, n.gaveUp(cmd, ctx.Err(), err)
	}
	return catalog.DecodeOutcome(out)
}

// Barrier returns when this node's catalog is at least as new as the call.
func (n *Node) Barrier(ctx context.Context) error {
	index, _, err := retry(ctx, n, func(ctx context.Context) (uint64, []byte, error) {
		if n.IsLeader() {
			return n.barrierHere(ctx)
		}
		return n.ask(ctx, methodBarrier)
	})
	if err == nil {
		err = n.waitIndex(ctx, index)
	}
	if err != nil {
		return fail("wait for the catalog", string(n.o.ID), err, "are most of the nodes up?")
	}
	return nil
}

func (n *Node) gaveUp(cmd catalog.Command, ctxErr, last error) error {
	if last != nil && ctxErr == nil {
		return last // a verdict, or the node is closing
	}
	cause := fmt.Errorf("%w: %w", ctxErr, redoubt.ErrUnavailable)
	if last != nil {
		cause = fmt.Errorf("%w: %w (last: %w)", ctxErr, redoubt.ErrUnavailable, last)
	}
	return fail("propose", catalog.Name(cmd), cause, "it may have taken effect or not; are most of the nodes up?")
}

// retry calls try until it gives an answer or a verdict, or ctx is done. Each
// attempt is bounded, and ends early when the leader changes.
func retry(ctx context.Context, n *Node, try func(context.Context) (uint64, []byte, error)) (uint64, []byte, error) {
	pause := 5 * time.Millisecond
	var last error
	for {
		changed := n.leader.next()
		attempt, cancel := context.WithTimeout(ctx, n.o.Timeouts.Attempt)
		stop := context.AfterFunc(n.ctx, cancel)
		settled := make(chan struct{})
		go func() {
			defer cancel()
			select {
			case <-settled:
			case <-changed:
				// An answer on its way is still the fastest: give it a moment.
				t := time.NewTimer(n.o.Timeouts.Heartbeat / 4)
				defer t.Stop()
				select {
				case <-settled:
				case <-t.C:
				}
			}
		}()
		index, out, err := try(attempt)
		close(settled)
		stop()
		if err == nil {
			return index, out, nil
		}
		last = err
		if n.ctx.Err() != nil {
			return 0, nil, fail("use cluster node", string(n.o.ID), redoubt.ErrClosed, "")
		}
		if final(err) || ctx.Err() != nil {
			return 0, nil, last
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-n.leader.next():
		case <-ctx.Done():
		case <-n.ctx.Done():
		}
		t.Stop()
		pause = min(2*pause, 200*time.Millisecond)
	}
}

// final tells the errors of an attempt that another attempt cannot mend. What
// the FSM said is not among them: that comes as an answer, not as an error.
func final(err error) bool {
	for _, is := range []error{redoubt.ErrDenied, redoubt.ErrInvalid, redoubt.ErrVersion, redoubt.ErrFailed} {
		if errors.Is(err, is) {
			return true
		}
	}
	return false
}

// ask sends a request to the leader.
func (n *Node) ask(ctx context.Context, method string, body ...[]byte) (uint64, []byte, error) {
	leader, ok := n.Leader()
	if !ok || leader.ID == n.o.ID {
		return 0, nil, fail("reach the leader", "", fmt.Errorf("there is none: %w", redoubt.ErrUnavailable), "are most of the nodes up?")
	}
	b, err := n.o.Pool.Call(ctx, leader.Addr, method, body...)
	if err != nil {
		return 0, nil, err
	}
	if len(b) < 8 {
		return 0, nil, fail("reach the leader", leader.Addr, redoubt.ErrCorrupt, "")
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// applyHere puts the command into the log of this node, the leader, and waits
// until it is applied.
func (n *Node) applyHere(ctx context.Context, raw []byte) (uint64, []byte, error) {
	if catalog.IsCommit(raw) {
		crashpoint.Here("cluster.commit.received")
	}
	f := n.raft.Apply(raw, n.o.Timeouts.Attempt)
	if err := await(ctx, f); err != nil {
		return 0, nil, err
	}
	switch v := f.Response().(type) {
	case []byte:
		return f.Index(), v, nil
	case error:
		return 0, nil, fail("apply command", "", fmt.Errorf("%w: %w", v, redoubt.ErrFailed), redoubt.Hint(v))
	}
	return 0, nil, fail("apply command", "", redoubt.ErrCorrupt, "")
}

func (n *Node) barrierHere(ctx context.Context) (uint64, []byte, error) {
	if err := await(ctx, n.raft.Barrier(n.o.Timeouts.Attempt)); err != nil {
		return 0, nil, err
	}
	return n.catalog.Index(), nil, nil
}

// await waits for a future of Raft, but not longer than ctx. All of Raft's
// own errors mean "unknown, try again".
func await(ctx context.Context, f raft.Future) error {
	done := make(chan error, 1)
	go func() { done <- f.Error() }() // ends with the future, at the latest when Raft shuts down
	select {
	case err := <-done:
		if err != nil {
			return fail("commit through raft", "", fmt.Errorf("%w: %w", err, redoubt.ErrUnavailable), "")
		}
		return nil
	case <-ctx.Done():
		return fail("commit through raft", "", fmt.Errorf("%w: %w", ctx.Err(), redoubt.ErrUnavailable), "")
	}
}

// waitIndex waits until this node has applied the entry index.
func (n *Node) waitIndex(ctx context.Context, index uint64) error {
	for {
		changed := n.catalog.Changed()
		if n.catalog.Index() >= index {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-n.ctx.Done():
			return fail("use cluster node", string(n.o.ID), redoubt.ErrClosed, "")
		}
	}
}
