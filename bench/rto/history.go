package main

import (
	"context"
	"encoding/binary"
	"math/rand/v2"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
	"github.com/redoubt-dr/redoubt/target/index"
)

const (
	group     = redoubt.GroupID("rto")
	uuid      = "rto-generated"
	disk      = redoubt.DiskID(1)
	diskName  = "disk"
	perDelta  = 4    // writes of a segment
	page      = 4096 // every page says where it belongs and which write made it
	bigEvery  = 64   // each so manieth segment holds incompressible writes
	bigPages  = 4    // of 16 KiB
	generated = 30 * 24 * time.Hour
)

// history makes the segments of a group from their numbers. All segments are
// stored whole; most hold pages that compress to nearly nothing, so that a
// million of them fit on a test machine. Measured reads go to those that do not
// compress.
type history struct {
	segments uint64
	size     uint64 // of the disk
	start    int64  // time of the first write
}

func newHistory(segments, size uint64) *history {
	return &history{segments: segments, size: size, start: time.Now().Add(-generated).UnixNano()}
}

func big(ordinal uint64) bool { return ordinal%bigEvery == 0 }

func (h *history) time(ordinal uint64) int64 {
	return h.start + int64(ordinal)*(int64(generated/2)/int64(h.segments))
}

func lastLSN(ordinal uint64) redoubt.LSN { return redoubt.LSN((ordinal + 1) * perDelta) }

// writes returns the writes of a segment.
func (h *history) writes(ordinal uint64) []redoubt.Write {
	rng := rand.New(rand.NewPCG(ordinal, h.size))
	pages := uint64(1)
	if big(ordinal) {
		pages = bigPages
	}
	ws := make([]redoubt.Write, perDelta)
	for i := range ws {
		n := pages * page
		off := rng.Uint64N(h.size/n) * n
		data := make([]byte, n)
		lsn := lastLSN(ordinal) - perDelta + 1 + redoubt.LSN(i)
		for at := uint64(0); at < n; at += page {
			p := data[at : at+page]
			if big(ordinal) {
				for j := 16; j < page; j += 8 {
					binary.LittleEndian.PutUint64(p[j:], rng.Uint64())
				}
			}
			binary.LittleEndian.PutUint64(p, off+at)
			binary.LittleEndian.PutUint64(p[8:], uint64(lsn))
		}
		ws[i] = redoubt.Write{LSN: lsn, Time: h.time(ordinal), Disk: disk, Kind: redoubt.KindWrite,
			Extent: redoubt.Extent{Off: off, Len: n}, Data: data, CRC: redoubt.Checksum(data)}
	}
	return ws
}

// delta encodes a segment as a source would have shipped it.
func (h *history) delta(ordinal uint64, c *ship.Compressor) (*ship.Delta, error) {
	b := ship.NewBuilder(group, 1, c)
	for _, w := range h.writes(ordinal) {
		if err := b.Add(&w); err != nil {
			return nil, err
		}
	}
	d, err := b.Finish()
	if err == nil && ordinal == 0 {
		d.Baseline = d.Last // the manifest is made from it: points exist from here on
	}
	return d, err
}

// Entries gives the index what the segment's head says.
func (h *history) Entries(_ context.Context, _ index.Series, ordinal uint64) ([]index.Entry, error) {
	var out []index.Entry
	at := uint32(0)
	for _, w := range h.writes(ordinal) {
		out = append(out, index.Entry{LSN: w.LSN, Disk: w.Disk, Extent: w.Extent, BlockOff: at, CRC: w.CRC})
		at += uint32(len(w.Data))
	}
	return out, nil
}

// stamp reads which page and which write a page says it is.
func stamp(p []byte) (off uint64, lsn redoubt.LSN) {
	return binary.LittleEndian.Uint64(p), redoubt.LSN(binary.LittleEndian.Uint64(p[8:]))
}
