package cluster

import (
	"context"
	"sync"
)

// Local is a catalog that nobody shares, without Raft: commands pass through
// their encoding and are applied at once. What drives a catalog can be simulated on
// it, many thousand commands a second. Methods may be called concurrently.
type Local struct {
	mu      sync.Mutex
	catalog *Catalog
	index   uint64
}

// NewLocal returns an empty catalog.
func NewLocal() *Local {
	return &Local{catalog: newCatalog()}
}

// Catalog returns the catalog.
func (l *Local) Catalog() *Catalog { return l.catalog }

// Barrier does nothing: the catalog is always current.
func (l *Local) Barrier(context.Context) error { return nil }

// Propose applies cmd and returns what it came to.
func (l *Local) Propose(_ context.Context, cmd Command) (any, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.index++
	v, err := decodeEnvelope(encodeEnvelope(envelope{client: clientID{1}, serial: l.index, floor: l.index, cmd: cmd}))
	if err != nil {
		return nil, err
	}
	l.catalog.mu.Lock()
	defer l.catalog.mu.Unlock()
	o, err := decodeOutcome(l.catalog.s.apply(l.index, v))
	l.catalog.notify()
	if err != nil {
		return nil, err
	}
	return o.value, o.err
}
