package export

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/target/history"
)

// Tail is the writes of an old primary that are not in the history. They lie on
// top of one of its points.
type Tail struct {
	ID    string
	After redoubt.Position // the point
	Head  redoubt.LSN      // of the last write
	// Read calls fn with all writes behind After, in order.
	Read func(ctx context.Context, fn func([]redoubt.Write) error) error
}

// TestBranch is Test of the disks as the old primary had them: a point of the
// history, and the tail on top of it.
func (m *Manager) TestBranch(ctx context.Context, id redoubt.GroupID, tail Tail, hydrate bool) (*Instance, error) {
	g, err := m.group(ctx, id)
	if err != nil {
		return nil, err
	}
	point, when, err := m.o.Store.History().Resolve(ctx, id, history.PointSpec{Position: tail.After})
	if err != nil {
		return nil, &redoubt.Error{Op: "open branch", Object: string(id) + "/" + tail.ID, Err: fmt.Errorf("the point %s that it begins at: %w", tail.After, err), Hint: redoubt.Hint(err)}
	}
	spec := Spec{
		Version: specVersion, Kind: KindTest, Group: id, UUID: g.UUID, Disks: m.o.Node.Catalog().DisksAt(id, point), Branch: tail.ID, Filling: true,
		Point: point, Epoch: point.Epoch, Time: when, Created: m.o.Now(), Hydrate: hydrate || m.o.Hydrate == HydrateAll,
	}
	return m.openTest(ctx, &spec, func(in *Instance) error {
		if err := tail.Read(ctx, func(ws []redoubt.Write) error { return in.disks.Replicate(spec.Epoch, onDisks(ws, spec.Disks)) }); err != nil {
			return err
		}
		if head := in.journal.Head().LSN; head != max(tail.Head, point.LSN) {
			return &redoubt.Error{Op: "open branch", Object: string(id) + "/" + tail.ID, Err: fmt.Errorf("it ends at LSN %d instead of %d: %w", head, tail.Head, redoubt.ErrGap)}
		}
		if err := in.journal.Sync(ctx, in.journal.Head().LSN); err != nil {
			return err
		}
		in.Filling = false
		return writeSpec(in.dir, in.Spec)
	})
}

// onDisks lets what the tail says of other disks than the point has change
// nothing: they joined after it, and only the old primary has them whole.
func onDisks(ws []redoubt.Write, disks []redoubt.Disk) []redoubt.Write {
	for i := range ws {
		w := &ws[i]
		if w.Disk != 0 && !slices.ContainsFunc(disks, func(d redoubt.Disk) bool { return d.ID == w.Disk }) {
			*w = redoubt.Write{LSN: w.LSN, Time: w.Time, Kind: redoubt.KindBaseline}
		}
	}
	return ws
}

// openTest makes a test failover of the spec, which gets its ID here. fill, if
// not nil, brings it up to date before anybody else knows it.
func (m *Manager) openTest(ctx context.Context, spec *Spec, fill func(*Instance) error) (*Instance, error) {
	if err := m.reserve(spec); err != nil {
		return nil, err
	}
	dir := m.dir(*spec)
	if err := m.pin(ctx, spec); err != nil {
		return nil, errors.Join(err, m.drop(dir, *spec)) // it may be pinned all the same
	}
	in, err := m.open(ctx, *spec, dir)
	if err == nil && fill != nil {
		if err = fill(in); err != nil {
			err = errors.Join(err, in.close())
		}
	}
	if err != nil {
		return nil, errors.Join(err, m.drop(dir, *spec))
	}
	m.mu.Lock()
	m.tests[spec.ID] = in
	m.mu.Unlock()
	m.o.Logger.Info("test failover", "group", string(spec.Group), "export", spec.ID, "point", spec.Point.String(), "branch", spec.Branch)
	return in, nil
}

// pinBranch keeps the point that an orphan tail begins at, so that the tail can
// be opened for as long as the source keeps it.
func (m *Manager) pinBranch(ctx context.Context, id redoubt.GroupID, name string, at redoubt.Position) error {
	_, err := m.o.Node.Propose(ctx, catalog.SetPin{Group: id, Pin: catalog.Pin{Name: name, Kind: catalog.PinOperator, Position: at, Time: m.o.Now().UnixNano(), By: string(m.o.ID)}})
	return err
}

// UnpinBranch ends that, when the branch has been dropped.
func (m *Manager) UnpinBranch(ctx context.Context, id redoubt.GroupID, branch string) error {
	_, err := m.o.Node.Propose(ctx, catalog.RemovePin{Group: id, Name: branchPin(branch)})
	if errors.Is(err, redoubt.ErrNotFound) {
		return nil
	}
	return err
}

func branchPin(branch string) string { return "branch-" + branch }

// EachData calls fn for everything of a disk that may hold anything but zeros,
// in order, at most 1 MiB at a time. data is valid during the call only.
func (in *Instance) EachData(ctx context.Context, disk string, fn func(off uint64, data []byte) error) error {
	v, ok := in.disks.Volume(disk)
	if !ok {
		return &redoubt.Error{Op: "read export", Object: in.ID + "/" + disk, Err: redoubt.ErrNotFound}
	}
	buf := make([]byte, 1<<20)
	for off := uint64(0); ; {
		e, more := v.NextData(off)
		if !more || ctx.Err() != nil {
			return ctx.Err()
		}
		b := buf[:min(e.Len, uint64(len(buf)))]
		if err := v.ReadAt(b, e.Off); err != nil {
			return err
		}
		if err := fn(e.Off, b); err != nil {
			return err
		}
		off = e.Off + uint64(len(b))
	}
}
