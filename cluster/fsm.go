package cluster

import (
	"fmt"
	"io"

	"github.com/hashicorp/raft"

	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// fsm hands what Raft commits to the catalog.
type fsm struct {
	machine *catalog.StateMachine
	// fatal is called when an entry cannot be understood: to skip what the
	// other nodes apply would let the catalogs part.
	fatal   func(error)
	applied func(catalog.Command) // after each
	failed  error
}

var _ raft.FSM = (*fsm)(nil)

// Apply is called by Raft with one committed entry at a time. It returns the
// encoded outcome, or an error value if the entry could not be applied at all.
func (f *fsm) Apply(l *raft.Log) any {
	if f.failed != nil {
		return f.failed
	}
	v, err := catalog.DecodeEnvelope(l.Data)
	if err != nil {
		f.failed = fail("apply log entry", fmt.Sprint(l.Index), err, "if the format is newer: run the same version on all nodes")
		f.fatal(f.failed)
		return f.failed
	}
	out := f.machine.Apply(l.Index, v)
	f.applied(v.Cmd)
	return out
}

// Snapshot captures the state; it is written out later, beside Apply.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	return &snapshot{s: f.machine.Snapshot()}, nil
}

// Restore replaces the state by that of a snapshot; on an error it stays as it was.
func (f *fsm) Restore(r io.ReadCloser) error {
	defer func() { _ = r.Close() }()
	if err := f.machine.Restore(r); err != nil {
		return fail("restore catalog", "", err, "")
	}
	return nil
}

// snapshot is a captured catalog on its way to a file.
type snapshot struct{ s *catalog.Snapshot }

var _ raft.FSMSnapshot = (*snapshot)(nil)

// Persist streams the snapshot to the sink.
func (p *snapshot) Persist(sink raft.SnapshotSink) error {
	if err := p.s.Write(sink); err != nil {
		_ = sink.Cancel()
		return fail("write catalog snapshot", sink.ID(), err, "")
	}
	return sink.Close()
}

// Release lets the captured catalog go.
func (p *snapshot) Release() { p.s = nil }
