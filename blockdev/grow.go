package blockdev

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// checkShape tells whether a record that shapes a disk makes sense. One that leaves
// may be unknown here: it is told again after a restart.
func (g *Group) checkShape(w *redoubt.Write) error {
	d, size := g.byID[w.Disk], w.Extent.Off
	if w.Disk == 0 || d == nil && w.Kind != redoubt.KindLeave || w.Extent.Len != 0 || len(w.Data) > 0 || size == 0 || size%redoubt.SectorSize != 0 || size > redoubt.MaxDiskSize {
		return &redoubt.Error{Op: "take " + w.Kind.String(), Object: w.LSN.String(), Err: fmt.Errorf("disk %d to %d bytes: %w", w.Disk, size, redoubt.ErrInvalid)}
	}
	return nil
}

// Room returns how many bytes the backing of a disk has at present. It may have
// been enlarged since it was opened.
func (g *Group) Room(id redoubt.DiskID) (uint64, error) {
	r, err := g.resizer(id)
	if err != nil {
		return 0, err
	}
	return r.Measure()
}

func (g *Group) resizer(id redoubt.DiskID) (resizer, error) {
	d, err := g.disk("grow disk", id, redoubt.Extent{})
	if err != nil {
		return nil, err
	}
	if r, ok := d.backing.(resizer); ok {
		return r, nil
	}
	return nil, &redoubt.Error{Op: "grow disk", Object: d.info.Name, Err: redoubt.ErrState, Hint: "only disks at the source grow"}
}

// Grow makes a disk larger: a resize and zeros over what is new enter the order
// together and become durable; then done is called, and only if it returns nil
// clients may use the new bytes. So whoever finds after a crash that done has not
// happened may do it all again. Nobody else may grow the disk meanwhile.
func (g *Group) Grow(ctx context.Context, id redoubt.DiskID, from, to uint64, done func() error) error {
	r, err := g.resizer(id)
	if err != nil {
		return err
	}
	d := g.byID[id]
	if from > to || to > redoubt.MaxDiskSize || to%redoubt.SectorSize != 0 {
		return &redoubt.Error{Op: "grow disk", Object: d.info.Name, Err: fmt.Errorf("from %d to %d bytes: %w", from, to, redoubt.ErrInvalid)}
	}
	if err := r.Resize(to); err != nil {
		return err
	}
	ws := []redoubt.Write{{Disk: id, Kind: redoubt.KindResize, Extent: redoubt.Extent{Off: to}}}
	if to > from {
		ws = append(ws, redoubt.Write{Disk: id, Kind: redoubt.KindZero, Extent: redoubt.Extent{Off: from, Len: to - from}})
	}
	if err := g.submit(submission{ws: ws, control: true, ctx: ctx}); err != nil {
		return err
	}
	if err := g.j.Sync(ctx, ws[len(ws)-1].LSN); err != nil {
		return err
	}
	if err := done(); err != nil {
		return err
	}
	d.size.Store(max(to, d.size.Load()))
	return nil
}

// Blank makes a disk read as zeros from an offset on, beside the journal: for
// what no history holds. Clients may not write, and nobody replicates meanwhile.
// It is durable on return.
func (g *Group) Blank(ctx context.Context, id redoubt.DiskID, from uint64) error {
	d, err := g.disk("blank disk", id, redoubt.Extent{Off: from})
	if err != nil {
		return err
	}
	if err := g.Drain(ctx); err != nil {
		return err
	}
	rest := redoubt.Extent{Off: from, Len: d.size.Load() - from}
	if rest.Empty() {
		return nil
	}
	if err = d.backing.Zero(rest, true); err == nil {
		err = d.backing.Sync()
	}
	if err != nil {
		g.fail("blank disk "+d.info.Name, err)
	}
	return err
}
