package export

import (
	"context"
	"encoding/json"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// knownMethod asks a group's owner how far the source was known to be.
const knownMethod = "export.known"

// known is what heartbeats said of a group's writer.
type known struct {
	Head     redoubt.LSN `json:"head"`
	HeadTime int64       `json:"head_time"`
	Contact  int64       `json:"contact"`
}

// knownTimeout bounds the question: a failover does not wait for a dead node.
const knownTimeout = 500 * time.Millisecond

func (m *Manager) serveKnown(_ context.Context, _ pki.Identity, body []byte) ([]byte, error) {
	var id redoubt.GroupID
	if err := json.Unmarshal(body, &id); err != nil {
		return nil, &redoubt.Error{Op: "tell what is known", Err: redoubt.ErrInvalid}
	}
	return json.Marshal(m.localKnown(id))
}

func (m *Manager) localKnown(id redoubt.GroupID) known {
	head, headTime, contact := m.o.Store.Head(id)
	return known{head, unixNano(headTime), unixNano(contact)}
}

// known returns the newest that this node or the group's owner has heard of
// the writer. An owner that does not answer in time is left out: what it knew
// beyond the committed head is lost with it.
func (m *Manager) known(ctx context.Context, g cluster.Group) known {
	k := m.localKnown(g.ID)
	if g.Owner == m.o.ID {
		return k
	}
	owner, ok := m.o.Node.Catalog().Node(g.Owner)
	if !ok {
		return k
	}
	ctx, cancel := context.WithTimeout(ctx, knownTimeout)
	defer cancel()
	body, err := json.Marshal(g.ID)
	if err != nil {
		return k
	}
	answer, err := m.o.Pool.Call(ctx, owner.Addr, knownMethod, body)
	var o known
	if err != nil || json.Unmarshal(answer, &o) != nil || o.Contact <= k.Contact {
		return k
	}
	return o
}
