package blockdev

import (
	"context"

	"github.com/redoubt-dr/redoubt"
)

// Clients may write at any byte, but every record in the group's order covers
// whole sectors: the rest of a sector that is written in part is read and
// written with it, inside the order, so that nothing comes in between.

const sectorMask = redoubt.SectorSize - 1

func aligned(e redoubt.Extent) bool { return (e.Off|e.Len)&sectorMask == 0 }

// submitUnaligned puts a write (kind KindWrite, with p) or zeros over e.
func (v *Volume) submitUnaligned(ctx context.Context, kind redoubt.Kind, e redoubt.Extent, p []byte) error {
	v.disk.count.unaligned.Add(1)
	if kind == redoubt.KindWrite {
		ws, prepare := v.widen(nil, p, e.Off)
		return v.g.submit(submission{ctx: ctx, ws: ws, prepare: prepare})
	}
	// A partial sector at each end is data, what lies between is a range.
	var ws []redoubt.Write
	var edges []func([]redoubt.Write) error
	edge := func(n uint64) {
		var prepare func([]redoubt.Write) error
		ws, prepare = v.widen(ws, zeroPage[:n], e.Off)
		edges = append(edges, prepare)
		e.Off, e.Len = e.Off+n, e.Len-n
	}
	if head := -e.Off & sectorMask; head > 0 {
		edge(min(head, e.Len))
	}
	if whole := e.Len &^ sectorMask; whole > 0 {
		ws = append(ws, redoubt.Write{Disk: v.disk.info.ID, Kind: kind, Extent: redoubt.Extent{Off: e.Off, Len: whole}})
		e.Off, e.Len = e.Off+whole, e.Len-whole
	}
	if e.Len > 0 {
		edge(e.Len)
	}
	return v.g.submit(submission{ctx: ctx, ws: ws, prepare: func(ws []redoubt.Write) error {
		for _, prepare := range edges {
			if err := prepare(ws); err != nil {
				return err
			}
		}
		return nil
	}})
}

// widen appends writes that cover the sectors of p at off, and returns what
// completes them: it reads the rest of the first and last sector.
func (v *Volume) widen(ws []redoubt.Write, p []byte, off uint64) ([]redoubt.Write, func([]redoubt.Write) error) {
	first := off &^ sectorMask
	last := (off + uint64(len(p)) + sectorMask) &^ sectorMask
	own, from := make([]byte, last-first), len(ws)
	ws = v.split(ws, own, first)
	to := len(ws)
	return ws, func(ws []redoubt.Write) error {
		for _, at := range []uint64{first, last - redoubt.SectorSize} {
			if err := v.disk.read(own[at-first:at-first+redoubt.SectorSize], at); err != nil {
				return err
			}
		}
		copy(own[off-first:], p)
		for i := from; i < to; i++ {
			ws[i].CRC = redoubt.Checksum(ws[i].Data)
		}
		return nil
	}
}
