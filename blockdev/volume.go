package blockdev

import (
	"context"

	"github.com/redoubt-dr/redoubt"
)

// Volume is one disk of a group, readable and writable in bytes. Reads are
// linearizable per sector: they return the newest journaled content, also while
// it is being applied. All methods may be called concurrently.
type Volume struct {
	g    *Group
	disk *disk
}

// Disk returns the disk's number, name and size.
func (v *Volume) Disk() redoubt.Disk {
	d := v.disk.info
	d.Size = v.disk.size.Load()
	return d
}

// Group returns the group that the disk belongs to.
func (v *Volume) Group() *Group { return v.g }

// ReadAt fills p with the newest content at off.
func (v *Volume) ReadAt(p []byte, off uint64) error {
	if err := v.inside("read", redoubt.Extent{Off: off, Len: uint64(len(p))}); err != nil {
		return err
	}
	return v.disk.read(p, off)
}

// Write puts p at off. It returns when the journal has it, and with fua when it
// is durable. p is copied. A write longer than redoubt.MaxWriteData becomes
// several in the group's order. Errors: redoubt.ErrOutOfRange, the group's
// read-only error, redoubt.ErrJournalFull, redoubt.ErrFailed.
func (v *Volume) Write(p []byte, off uint64, fua bool) error {
	e := redoubt.Extent{Off: off, Len: uint64(len(p))}
	if err := v.inside("write", e); err != nil {
		return err
	}
	for len(p) > 0 {
		n := min(len(p), submitMax)
		if n < len(p) { // cut at a sector
			n -= int((off + uint64(n)) % redoubt.SectorSize)
		}
		if err := v.submitWrite(p[:n], off); err != nil {
			return err
		}
		p, off = p[n:], off+uint64(n)
	}
	return v.sync(fua)
}

// submitMax bounds what one call brings into the group's order at once.
const submitMax = 4 << 20

func (v *Volume) submitWrite(p []byte, off uint64) error {
	if e := (redoubt.Extent{Off: off, Len: uint64(len(p))}); !aligned(e) {
		return v.submitUnaligned(context.Background(), redoubt.KindWrite, e, p)
	}
	own := make([]byte, len(p))
	copy(own, p)
	return v.g.submit(submission{ws: v.split(nil, own, off)})
}

// split appends writes of own at off to ws, none longer than redoubt.MaxWriteData.
func (v *Volume) split(ws []redoubt.Write, own []byte, off uint64) []redoubt.Write {
	for len(own) > 0 {
		n := min(len(own), redoubt.MaxWriteData)
		ws = append(ws, redoubt.Write{Disk: v.disk.info.ID, Kind: redoubt.KindWrite, CRC: redoubt.Checksum(own[:n]),
			Extent: redoubt.Extent{Off: off, Len: uint64(n)}, Data: own[:n:n]})
		own, off = own[n:], off+uint64(n)
	}
	return ws
}

// Zero makes e read as zeros; with trim its space may be given back. It is one
// record whatever the length. Errors and fua are those of Write.
func (v *Volume) Zero(e redoubt.Extent, trim, fua bool) error {
	if err := v.inside("zero", e); err != nil {
		return err
	}
	kind := redoubt.KindZero
	if trim {
		kind = redoubt.KindTrim
	}
	if err := v.submitZero(kind, e); err != nil {
		return err
	}
	return v.sync(fua)
}

func (v *Volume) submitZero(kind redoubt.Kind, e redoubt.Extent) error {
	switch {
	case e.Empty():
		return nil
	case !aligned(e):
		return v.submitUnaligned(context.Background(), kind, e, nil)
	}
	return v.g.submit(submission{ws: []redoubt.Write{{Disk: v.disk.info.ID, Kind: kind, Extent: e}}})
}

// Flush makes every write of the whole group that was acknowledged before the
// call durable, whatever connection it came from.
func (v *Volume) Flush(ctx context.Context) error {
	v.disk.count.flushes.Add(1)
	return v.g.flush(ctx, v.g.acknowledged())
}

// NextData returns the next range at or after from that may hold anything but
// zeros, or false if there is none.
func (v *Volume) NextData(from uint64) (redoubt.Extent, bool) { return v.disk.nextData(from) }

func (v *Volume) sync(fua bool) error {
	if !fua {
		return nil
	}
	return v.g.flush(context.Background(), v.g.acknowledged())
}

func (v *Volume) inside(op string, e redoubt.Extent) error {
	if e.Within(v.disk.size.Load()) {
		return nil
	}
	return &redoubt.Error{Op: op, Object: v.disk.info.Name + " " + e.String(), Err: redoubt.ErrOutOfRange}
}
