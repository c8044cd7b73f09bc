package ship

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

const (
	maxDisks   = 1024
	maxLineage = 1 << 14
	maxText    = 256
	maxShards  = 64
)

// checkHello refuses what no honest sender says, before any sink sees it.
func checkHello(h *Hello) error {
	fail := func(err error) error {
		return &redoubt.Error{Op: "read hello of", Object: string(h.Group), Err: err}
	}
	if err := redoubt.ValidName("group", string(h.Group)); err != nil {
		return err
	}
	if err := redoubt.ValidName("source", h.Source); err != nil {
		return err
	}
	if len(h.UUID) > maxText || len(h.Advertise) > maxText || len(h.Lineage) > maxLineage || len(h.Disks) > maxDisks || len(h.Gone) > maxDisks || len(h.Joining) > len(h.Disks) {
		return fail(fmt.Errorf("too long: %w", redoubt.ErrInvalid))
	}
	if h.K < 0 || h.M < 0 || h.K > maxShards || h.M > maxShards {
		return fail(fmt.Errorf("%d+%d shards: %w", h.K, h.M, redoubt.ErrInvalid))
	}
	if h.Job != nil {
		if err := h.Job.check(); err != nil {
			return fail(err)
		}
	}
	if h.Epoch == 0 && !h.Probe {
		return fail(fmt.Errorf("epoch 0: %w", redoubt.ErrInvalid))
	}
	if err := checkAsk(h); err != nil {
		return err
	}
	if err := h.Lineage.Validate(); err != nil {
		return fail(err)
	}
	ids, names := map[redoubt.DiskID]bool{}, map[string]bool{}
	for _, d := range h.Disks {
		if err := redoubt.ValidName("disk", d.Name); err != nil {
			return err
		}
		if d.ID == 0 || ids[d.ID] || names[d.Name] || d.Size == 0 || d.Size > redoubt.MaxDiskSize || d.Size%redoubt.SectorSize != 0 {
			return fail(fmt.Errorf("disk %d %q of %d bytes: %w", d.ID, d.Name, d.Size, redoubt.ErrInvalid))
		}
		ids[d.ID], names[d.Name] = true, true
	}
	for _, d := range h.Gone {
		if err := redoubt.ValidName("disk", d.Name); err != nil {
			return err
		}
		if d.ID == 0 || ids[d.ID] || d.Size == 0 || d.Size > redoubt.MaxDiskSize || d.Size%redoubt.SectorSize != 0 {
			return fail(fmt.Errorf("disk %d %q of %d bytes, which has left: %w", d.ID, d.Name, d.Size, redoubt.ErrInvalid))
		}
		ids[d.ID] = true
	}
	return nil
}

// mayAsk checks, before the sink is asked, whether peer may speak for h at all.
func mayAsk(peer pki.Identity, h *Hello) error {
	ok := false
	switch {
	case h.Reverse:
		ok = peer.Role == pki.RoleTarget
	case peer.Role == pki.RoleSource:
		ok = peer.Name == h.Source
	default:
		ok = peer.Role == pki.RoleTarget // if the catalog names it as the writer: mayWrite
	}
	if ok {
		return nil
	}
	return &redoubt.Error{Op: "open stream of", Object: string(h.Group), Hint: "a source's certificate must carry the name that its configuration gives it",
		Err: fmt.Errorf("%s may not speak for source %q (reverse=%v): %w", peer, h.Source, h.Reverse, redoubt.ErrDenied)}
}

// mayWrite checks the sink's answer: only the group's writer gets a stream.
func mayWrite(peer pki.Identity, h *Hello, w *Welcome) error {
	if h.Reverse || w.Writer == peer.String() || w.Writer == "" && peer.Role == pki.RoleSource {
		return nil
	}
	return &redoubt.Error{Op: "open stream of", Object: string(h.Group), Err: fmt.Errorf("%s is not the writer, %s is: %w", peer, w.Writer, redoubt.ErrDenied)}
}

// checkDelta checks that d belongs to this stream and touches its disks only.
func checkDelta(d *Delta, sum uint32, h *Hello, sizes map[redoubt.DiskID]uint64) error {
	fail := func(err error) error {
		return &redoubt.Error{Op: "check delta", Object: fmt.Sprintf("%s %d:%d-%d", d.Group, d.Epoch, d.First, d.Last), Err: err}
	}
	if d.Group != h.Group {
		return fail(fmt.Errorf("stream is of group %s: %w", h.Group, redoubt.ErrInvalid))
	}
	if d.Epoch != h.Epoch {
		return fail(fmt.Errorf("stream is of epoch %d: %w", h.Epoch, redoubt.ErrFenced))
	}
	for i := range d.Entries {
		e := &d.Entries[i]
		if e.Kind.Shapes() {
			size, ok := sizes[e.Disk]
			if !ok {
				return fail(fmt.Errorf("entry %d: %s of disk %d, which the hello does not name: %w", i, e.Kind, e.Disk, redoubt.ErrOutOfRange))
			}
			sizes[e.Disk] = max(size, e.Extent.Off)
		}
		if !onDisk(e.Kind) {
			continue
		}
		size, ok := sizes[e.Disk]
		if !ok || !e.Extent.Within(size) {
			return fail(fmt.Errorf("entry %d: disk %d at %s: %w", i, e.Disk, e.Extent, redoubt.ErrOutOfRange))
		}
	}
	if err := d.verifySum(sum); err != nil {
		return fail(err)
	}
	return nil
}
