package catalog

import (
	"context"
	"sync"
)

// Local is a catalog that nobody shares, without Raft: commands pass through
// their encoding and are applied at once. What drives a catalog can be simulated on
// it, many thousand commands a second. Methods may be called concurrently.
type Local struct {
	mu      sync.Mutex
	machine *StateMachine
	index   uint64
}

// NewLocal returns an empty catalog.
func NewLocal() *Local {
	return &Local{machine: NewStateMachine()}
}

// Catalog returns the catalog.
func (l *Local) Catalog() *Catalog { return l.machine.Catalog() }

// Barrier does nothing: the catalog is always current.
func (l *Local) Barrier(context.Context) error { return nil }

// Propose applies cmd and returns what it came to.
func (l *Local) Propose(_ context.Context, cmd Command) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	v, err := DecodeEnvelope(EncodeEnvelope(Envelope{Client: ClientID{1}, Serial: l.index, Floor: l.index, Cmd: cmd}))
	if err != nil {
		return nil, err
	}
	return DecodeOutcome(l.machine.Apply(l.index, v))
}
