package export

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/history"
)

// Test opens a point of the group beside production: writable, with an overlay
// of its own. It changes nothing of the group's production, replication or
// history. The caller ends it with Cleanup. hydrate has it copied to this node,
// whatever the policy says.
func (m *Manager) Test(ctx context.Context, id redoubt.GroupID, at history.PointSpec, hydrate bool) (*Instance, error) {
	return m.test(ctx, id, at, Spec{Hydrate: hydrate || m.o.Hydrate == HydrateAll})
}

// TestFor is Test for a recovery check, which must have a name: whoever finds
// the instance after a restart knows whose it is.
func (m *Manager) TestFor(ctx context.Context, check string, id redoubt.GroupID, at history.PointSpec) (*Instance, error) {
	return m.test(ctx, id, at, Spec{Check: check})
}

func (m *Manager) test(ctx context.Context, id redoubt.GroupID, at history.PointSpec, spec Spec) (*Instance, error) {
	g, err := m.group(ctx, id)
	if err != nil {
		return nil, err
	}
	if err := g.Permits(catalog.OpTestFailover); err != nil {
		return nil, err
	}
	point, when, err := m.o.Store.History().Resolve(ctx, id, at)
	if err != nil {
		return nil, err
	}
	spec.Version, spec.Kind, spec.Group, spec.UUID, spec.Disks = specVersion, KindTest, id, g.UUID, m.o.Node.Catalog().DisksAt(id, point)
	spec.Point, spec.Epoch, spec.Time, spec.Created = point, point.Epoch, when, m.o.Now()
	return m.openTest(ctx, &spec, nil)
}

// reserve gives the spec the lowest free ID "test-NODE-N" and makes its folder,
// which takes the ID.
func (m *Manager) reserve(s *Spec) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for n := 1; ; n++ {
		s.ID = fmt.Sprintf("test-%s-%d", m.o.ID, n)
		taken, err := filepath.Glob(filepath.Join(m.o.Dir, "*", s.ID))
		if err != nil {
			return err
		}
		if len(taken) == 0 {
			return writeSpec(m.dir(*s), *s)
		}
	}
}

// TestNode returns the node that a test failover's id names.
func TestNode(id string) (redoubt.NodeID, bool) {
	rest, ok := strings.CutPrefix(id, "test-")
	i := strings.LastIndexByte(rest, '-')
	if !ok || i < 1 {
		return "", false
	}
	return redoubt.NodeID(rest[:i]), true
}

// Cleanup ends a test failover of the group, or all of this node if test is
// empty, and deletes what was written in it. It returns what it ended and how
// many bytes that gave back.
func (m *Manager) Cleanup(id redoubt.GroupID, test string) (ids []string, freed uint64, err error) {
	m.mu.Lock()
	var ended []*Instance
	for _, in := range m.tests {
		if in.Group == id && (test == "" || in.ID == test) {
			ended = append(ended, in)
			delete(m.tests, in.ID)
		}
	}
	m.mu.Unlock()
	if len(ended) == 0 && test != "" {
		return nil, 0, &redoubt.Error{Op: "clean up test failover", Object: test, Err: redoubt.ErrNotFound, Hint: "`redoubt export list` names what is open"}
	}
	for _, in := range ended {
		freed += in.Bytes()
		err = errors.Join(err, in.close(), m.drop(in.dir, in.Spec))
		ids = append(ids, in.ID)
	}
	slices.Sort(ids)
	return ids, freed, err
}

func refused(op string, g catalog.Group) error {
	return &redoubt.Error{Op: op, Object: string(g.ID), Err: fmt.Errorf("the group is %s: %w", g.State, redoubt.ErrState),
		Hint: g.Instead()}
}
