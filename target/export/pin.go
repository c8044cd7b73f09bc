package export

import (
	"context"
	"errors"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

const unpinTimeout = 10 * time.Second

// pin keeps the point of a test failover in the catalog as long as the test is
// there, also while its node is down. Production needs no pin: the catalog
// keeps the point that was promoted.
func (m *Manager) pin(ctx context.Context, s *Spec) error {
	_, err := m.o.Node.Propose(ctx, catalog.SetPin{Group: s.Group, Pin: catalog.Pin{Name: s.ID, Kind: catalog.PinExport,
		Position: s.Point, Time: s.Time.UnixNano(), By: string(m.o.ID)}})
	return err
}

// unpin ends that. A pin that is left behind because the cluster does not
// answer is shown by `redoubt retention show`, and ended by unpin.
func (m *Manager) unpin(s *Spec) error {
	ctx, cancel := context.WithTimeout(m.ctx, unpinTimeout)
	defer cancel()
	_, err := m.o.Node.Propose(ctx, catalog.RemovePin{Group: s.Group, Name: s.ID})
	if errors.Is(err, redoubt.ErrNotFound) {
		return nil
	}
	return err
}
