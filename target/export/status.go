package export

import (
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// ReverseStatus is a snapshot of a reverse replication.
type ReverseStatus struct {
	ship.SenderStatus
	Plan   Resync
	Acked  redoubt.LSN // everything up to it is at the old primary
	Copied uint64      // bytes of the plan that are at the old primary, about
	InSync bool        // the old primary is whole and close behind
}

// Production is a snapshot of a group's production on this node.
type Production struct {
	Instance *Instance
	Head     redoubt.Position
	HeadTime int64
	Stored   redoubt.LSN // everything up to it is in the group's history
	Sender   ship.SenderStatus
	Reverse  *ReverseStatus // nil unless reverse replication is on
}

// inSyncLag is how many records behind the old primary may be for a failback
// to be short.
const inSyncLag = 1000

// Production returns a snapshot of the group's production, if it is here.
func (m *Manager) Production(id redoubt.GroupID) (Production, bool) {
	p, err := m.production(id)
	if err != nil {
		return Production{}, false
	}
	out := Production{Instance: p.Instance, Head: p.journal.Head(), HeadTime: p.journal.HeadTime(), Stored: p.store.Acked(), Reverse: p.reverseStatus()}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.sender != nil {
		out.Sender = p.sender.Status()
	}
	return out, true
}

func (p *production) reverseStatus() *ReverseStatus {
	p.mu.Lock()
	r := p.reverse
	p.mu.Unlock()
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &ReverseStatus{Acked: r.cursor.Acked()}
	if r.sender != nil {
		s.SenderStatus = r.sender.Status()
	}
	select {
	case <-r.begun:
	default:
		return s
	}
	whole := true
	if r.plan != nil {
		s.Plan, s.Copied = *r.plan, r.plan.Bytes
		if whole = r.plan.Baseline != 0 && s.Acked >= r.plan.Baseline; !whole {
			s.Copied = min(s.BytesRaw, r.plan.Bytes)
		}
	}
	s.InSync = whole && s.Acked+inSyncLag >= p.journal.Head().LSN
	return s
}

// Instances returns what is open on this node, sorted by group and ID.
func (m *Manager) Instances() []*Instance {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []*Instance
	for _, p := range m.prod {
		out = append(out, p.Instance)
	}
	for _, in := range m.tests {
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b *Instance) int {
		return strings.Compare(string(a.Group)+"/"+a.ID, string(b.Group)+"/"+b.ID)
	})
	return out
}
