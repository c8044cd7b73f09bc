package catalog

import (
	"io"
)

// StateMachine is what changes a catalog: it applies committed commands, each
// once, and makes and loads snapshots. Readers get the Catalog alone. Methods
// may be called concurrently with those of the Catalog.
type StateMachine struct{ catalog *Catalog }

// NewStateMachine returns one with an empty catalog.
func NewStateMachine() *StateMachine {
	return &StateMachine{catalog: &Catalog{s: newState(), changed: make(chan struct{})}}
}

// Catalog returns the catalog that m changes; it is the same one at all times.
func (m *StateMachine) Catalog() *Catalog { return m.catalog }

// Apply carries out the log's entry index and returns the encoded outcome (see
// DecodeOutcome). Entries must come in the log's order. A serial of a client
// that was applied before gets its first answer again, and changes nothing.
func (m *StateMachine) Apply(index uint64, v Envelope) []byte {
	m.catalog.mu.Lock()
	defer m.catalog.mu.Unlock()
	out := m.catalog.s.apply(index, v)
	m.catalog.notify()
	return out
}

// Snapshot captures the catalog and the dedupe table as they are now. It costs
// little: what it shares with the live catalog is not changed any more.
func (m *StateMachine) Snapshot() *Snapshot {
	m.catalog.mu.Lock()
	defer m.catalog.mu.Unlock()
	return &Snapshot{s: m.catalog.s.freeze()}
}

// Restore replaces everything by what the snapshot's stream holds; on an error
// it stays as it was.
func (m *StateMachine) Restore(r io.Reader) error {
	s, err := readSnapshot(r)
	if err != nil {
		return err
	}
	m.catalog.mu.Lock()
	defer m.catalog.mu.Unlock()
	m.catalog.s = s
	m.catalog.notify()
	return nil
}
