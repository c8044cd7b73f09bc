package journal

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// sweep looks for batches beyond the chain that prove that something of it was
// durable and is damaged: a torn tail has none. It comes after everything that
// shortens the chain, for what that gave up may lie on top of such batches.
//
// What a head says was durable is true for ever, so it does not matter whether
// the header of its file is the right one: only a reset makes it void.
func (r *recovery) sweep() error {
	var last uint64
	if n := len(r.chain); n > 0 {
		s := r.chain[n-1]
		last = s.seq
		if !s.rolled {
			if err := r.sweepSegment(s, s.w.end, last); err != nil {
				return err
			}
		}
	}
	for _, list := range [][]*segment{r.stale, r.free, r.junk} {
		for _, s := range list {
			if err := r.sweepOther(s, last); err != nil {
				return err
			}
		}
	}
	return nil
}

// sweepOther sweeps a file that is not part of the chain, whose last segment
// has seq last.
func (r *recovery) sweepOther(s *segment, last uint64) error {
	if s.size != r.facts.SegmentSize {
		return r.sweepJunk(s, last+1)
	}
	p := make([]byte, 2*pageSize)
	if err := readFull(s.file, p, 0); err != nil {
		return err
	}
	seq := s.seq
	if _, now, _, err := decodeHeader(p); err == nil {
		seq = now // the file of a journal in use may have been recycled since
	}
	h, id, err := decodeBatch(p[pageSize:])
	later := err == nil && id == r.id && h.off == pageSize && h.seq > max(last, seq)
	if later && h.seq >= max(r.facts.NextSeq, r.facts.MinSeq) {
		// No batch is written before the header of its use is durable, and since
		// this use no open has made one void: the disk has lost it.
		r.watermark = max(r.watermark, h.last())
	}
	headless := s.seq == 0 && !bytes.Equal(p, zeroPages[:]) // a file that was never used has nothing there
	if s.seq > last || later || headless {
		return r.sweepSegment(s, pageSize, last+1)
	}
	return nil
}

var zeroPages [2 * pageSize]byte // only ever read

// sweepSegment learns from batches that are in no chain, of the use minSeq of
// the file or a later one, what was durable when they were written.
func (r *recovery) sweepSegment(s *segment, from int64, minSeq uint64) error {
	return r.headsIn(s, from, s.limit(), minSeq, func(h *batchHead) { r.watermark = max(r.watermark, h.durable) })
}

// sweepJunk refuses a file of a wrong size that was in use: no batch is ever
// written before the file's size is durable.
func (r *recovery) sweepJunk(s *segment, minSeq uint64) error {
	found := redoubt.LSN(0)
	if err := r.headsIn(s, 0, s.size, minSeq, func(h *batchHead) { found = max(found, h.last()) }); err != nil || found == 0 {
		return err
	}
	return fmt.Errorf("%s holds records up to %d, but has %d bytes instead of %d: %w", s.file.Name(), found, s.size, r.facts.SegmentSize, redoubt.ErrCorrupt)
}

// sweepChunk is how much is read at a time, in bytes.
const sweepChunk = 1 << 20

// headsIn calls visit with every head of this journal in [from, to) of a file
// whose use is minSeq or later. A head is valid during the call only.
func (r *recovery) headsIn(s *segment, from, to int64, minSeq uint64, visit func(*batchHead)) error {
	minSeq = max(minSeq, r.facts.MinSeq)
	buf := make([]byte, sweepChunk)
	for off := from; off+pageSize <= to; off += sweepChunk {
		b := buf[:min(sweepChunk, to-off)]
		if err := readFull(s.file, b, off); err != nil {
			return err
		}
		for i := 0; i+pageSize <= len(b); i += pageSize {
			if string(b[i:i+8]) != magicBatch || le.Uint64(b[i+offSeq:]) < minSeq {
				continue
			}
			h, id, err := decodeBatch(b[i : i+pageSize])
			if err == nil && id == r.id && h.off == off+int64(i) {
				visit(&h)
			}
		}
	}
	return nil
}

// closeJunk closes the files that are going to be removed.
func (r *recovery) closeJunk() error {
	var err error
	for _, s := range r.junk {
		err = errors.Join(err, s.file.Close())
	}
	return err
}
