package target

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/target/pace"
	"github.com/redoubt-dr/redoubt/target/view"
)

// Comparisons is what a compare.Server asks: the group's disks at a position.
func (s *Store) Comparisons() compare.Store { return comparisons{s} }

type comparisons struct{ s *Store }

// OpenImage opens a View for the group's own source.
func (c comparisons) OpenImage(ctx context.Context, peer pki.Identity, a compare.Ask) (compare.Image, error) {
	s := c.s
	if err := s.node.Barrier(ctx); err != nil {
		return nil, err
	}
	g, err := s.comparedBy(peer, a.Group)
	if err != nil {
		return nil, err
	}
	if g.UUID != a.UUID {
		return nil, &redoubt.Error{Op: "compare group", Object: string(a.Group), Err: fmt.Errorf("it has another identity here: %w", redoubt.ErrInvalid)}
	}
	at := a.At
	if at.IsZero() {
		at = g.Committed
		if a.Most != 0 && a.Most < at.LSN {
			at.LSN = a.Most
		}
	}
	check := s.history.Check
	if a.Torn {
		check = s.history.CheckStored
	}
	v, err := s.view(ctx, a.Group, at, check)
	if err != nil {
		return nil, err
	}
	return pacedImage{v, s.comparing}, nil
}

// comparedBy returns the group if peer is its source.
func (s *Store) comparedBy(peer pki.Identity, id redoubt.GroupID) (catalog.Group, error) {
	g, err := s.group(id)
	if err != nil {
		return g, err
	}
	if peer != (pki.Identity{Role: pki.RoleSource, Name: g.Source}) {
		return g, &redoubt.Error{Op: "compare group", Object: string(id), Err: fmt.Errorf("%s is not its source: %w", peer, redoubt.ErrDenied)}
	}
	return g, nil
}

// Note remembers what the source found.
func (c comparisons) Note(ctx context.Context, peer pki.Identity, id redoubt.GroupID, r compare.Record) error {
	if _, err := c.s.comparedBy(peer, id); err != nil {
		return err
	}
	_, err := c.s.node.Propose(ctx, catalog.RecordVerification{Group: id, Verification: verification(r, peer.String())})
	return err
}

func verification(r compare.Record, by string) catalog.Verification {
	v := catalog.Verification{At: r.At, Root: r.Root, Started: r.Started, Finished: r.Finished, Compared: r.Compared, By: by,
		Blocks: r.Blocks, Moved: r.Moved, Unsettled: r.Unsettled, Differing: r.Differing, Passes: r.Passes}
	for _, x := range r.Extents[:min(len(r.Extents), catalog.KeptDiffering)] {
		v.Extents = append(v.Extents, catalog.DiskExtent{Disk: x.Disk, Extent: x.Extent})
	}
	return v
}

// pacedImage is a View that is read no faster than ingest leaves room for.
type pacedImage struct {
	*view.View
	pace *pace.Pacer
}

// Read fills p with what the disk held.
func (i pacedImage) Read(ctx context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	if err := i.pace.Wait(ctx, int64(len(p))); err != nil {
		return err
	}
	return i.ReadThrough(d, p, off)
}

// Root computes the root hash of a point, and remembers it.
func (s *Store) Root(ctx context.Context, id redoubt.GroupID, at redoubt.Position, progress func(done, all uint64)) (compare.Record, error) {
	v, err := s.View(ctx, id, at)
	if err != nil {
		return compare.Record{}, err
	}
	defer v.Close()
	r, err := compare.Root(ctx, pacedImage{v, s.comparing}, s.o.Now, progress)
	if err == nil {
		_, err = s.node.Propose(ctx, catalog.RecordVerification{Group: id, Verification: verification(r, catalog.TargetWriter(s.o.ID))})
	}
	return r, err
}
