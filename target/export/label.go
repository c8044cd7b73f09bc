package export

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/target/history"
)

// LabelledTest is Test for a caller that may ask again, because it does not
// know whether it has asked: with the same label the group is opened only once
// on this node, and that instance is returned.
func (m *Manager) LabelledTest(ctx context.Context, id redoubt.GroupID, at history.PointSpec, hydrate bool, label string) (*Instance, error) {
	unlock, err := m.lock(ctx, id)
	if err != nil {
		return nil, err
	}
	defer unlock()
	ins, err := m.labelled(ctx, id, label)
	if err != nil {
		return nil, err
	}
	if len(ins) > 0 {
		return ins[0], nil
	}
	return m.test(ctx, id, at, Spec{Hydrate: hydrate || m.o.Hydrate == HydrateAll, Label: label})
}

// CleanupLabel ends the group's test failovers with this label on this node, if
// there are any.
func (m *Manager) CleanupLabel(ctx context.Context, id redoubt.GroupID, label string) (ids []string, freed uint64, err error) {
	unlock, err := m.lock(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	ins, err := m.labelled(ctx, id, label)
	for _, in := range ins {
		done, n, cerr := m.Cleanup(id, in.ID)
		ids, freed, err = append(ids, done...), freed+n, errors.Join(err, cerr)
	}
	return ids, freed, err
}

// labelled returns the group's test failovers with this label. After a restart of
// the node it waits until they are open again.
func (m *Manager) labelled(ctx context.Context, id redoubt.GroupID, label string) (out []*Instance, err error) {
	files, err := filepath.Glob(filepath.Join(m.o.Dir, string(id), "*", specFile))
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		spec, err := readSpec(filepath.Dir(f))
		if err != nil {
			return nil, err
		}
		if spec.Label != label || spec.Kind != KindTest || spec.Over {
			continue
		}
		in, err := m.awaitOpen(ctx, spec.ID)
		if err != nil {
			return nil, err
		}
		out = append(out, in)
	}
	return out, nil
}

func (m *Manager) awaitOpen(ctx context.Context, test string) (*Instance, error) {
	for {
		m.mu.Lock()
		in := m.tests[test]
		m.mu.Unlock()
		if in != nil {
			return in, nil
		}
		if sleep(ctx, poll) != nil {
			return nil, &redoubt.Error{Op: "find test failover", Object: test, Err: redoubt.ErrUnavailable, Hint: "it is not open again since the node's restart; its log says why"}
		}
	}
}
