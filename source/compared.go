package source

import (
	"context"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/compare"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Comparisons is what a compare.Server asks for the way back: the disks that
// are to follow the secondary.
func (h *Host) Comparisons() compare.Store { return followers{h} }

type followers struct{ h *Host }

// OpenImage opens the disks of a group that this host does not write, as they
// are and will be, for the master target that does.
func (f followers) OpenImage(_ context.Context, peer pki.Identity, a compare.Ask) (compare.Image, error) {
	deny := func(err error, hint string) (compare.Image, error) {
		return nil, &redoubt.Error{Op: "compare group", Object: string(a.Group), Err: err, Hint: hint}
	}
	if peer.Role != pki.RoleTarget {
		return deny(redoubt.ErrDenied, "only a master target compares the disks of a source")
	}
	g, err := f.h.Group(a.Group)
	if err != nil {
		return nil, err
	}
	if a.UUID != g.uuid() {
		return deny(fmt.Errorf("it has another identity here: %w", redoubt.ErrInvalid), "")
	}
	if g.Role().Mode == ModeWriter {
		return deny(redoubt.ErrState, "this host is the writer: it compares its disks itself")
	}
	return liveImage{g}, nil
}

// Note refuses: what is found is of use to the one who asked only.
func (f followers) Note(context.Context, pki.Identity, redoubt.GroupID, compare.Record) error {
	return &redoubt.Error{Op: "note comparison", Err: redoubt.ErrInvalid}
}

// liveImage is the disks as they are when they are read.
type liveImage struct{ g *Group }

func (i liveImage) Position() redoubt.Position { return i.g.journal.Head() }
func (i liveImage) Disks() []redoubt.Disk      { return i.g.Disks() }
func (i liveImage) Close() error               { return nil }

// NextData asks the disk.
func (i liveImage) NextData(d redoubt.DiskID, from uint64) (redoubt.Extent, bool, error) {
	e, ok := i.g.disks.NextData(d, from)
	return e, ok, nil
}

// Read reads the disk.
func (i liveImage) Read(_ context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	return i.g.disks.ReadCurrent(d, p, off)
}
