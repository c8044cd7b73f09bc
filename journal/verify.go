package journal

import (
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Report is what Verify found.
type Report struct {
	Dir      string        `json:"dir"`
	ID       string        `json:"id"`
	Epoch    redoubt.Epoch `json:"epoch"`
	Segments int           `json:"segments"` // with records
	Batches  int64         `json:"batches"`
	Records  int64         `json:"records"`
	Bytes    int64         `json:"bytes"` // of data
	First    redoubt.LSN   `json:"first"`
	Last     redoubt.LSN   `json:"last"` // First > Last: no records
	// Durable is the last LSN that is known to have been durable.
	Durable redoubt.LSN `json:"durable"`
	// Notes are oddities that are no fault, such as a torn tail.
	Notes []string `json:"notes,omitempty"`
	// Problems are faults: something that was durable cannot be read.
	Problems []string `json:"problems,omitempty"`
}

// OK reports whether there is no problem.
func (r *Report) OK() bool { return len(r.Problems) == 0 }

func (r *Report) problem(f string, a ...any) { r.Problems = append(r.Problems, fmt.Sprintf(f, a...)) }
func (r *Report) note(f string, a ...any)    { r.Notes = append(r.Notes, fmt.Sprintf(f, a...)) }

// Verify reads a whole journal on the host's file system and checks every
// header, every checksum and the order. It changes nothing and may run beside
// a process that uses the journal. The error wraps redoubt.ErrCorrupt if there
// are problems.
func Verify(dir string) (Report, error) { return VerifyFS(vfs.OS, dir) }

// badPayload is a batch whose data does not match.
type badPayload struct {
	s    *seen
	off  int64
	last redoubt.LSN
	err  error
}

// VerifyFS is Verify on another file system.
func VerifyFS(fsys vfs.FS, dir string) (Report, error) {
	r := Report{Dir: dir}
	in, err := newInspector(fsys, dir)
	if err != nil {
		return r, err
	}
	r.ID, r.Epoch, r.Durable = in.facts.ID, in.facts.Epoch, in.facts.Watermark
	segs, err := in.segments()
	defer func() {
		for _, s := range segs {
			s.file.Close()
		}
	}()
	if err != nil {
		return r, &redoubt.Error{Op: "verify journal", Object: dir, Err: err}
	}
	var bad []badPayload
	var prev *seen
	for _, s := range segs {
		if s.skip != "" {
			continue
		}
		if err := in.walk(s, func(h *batchHead, _ []byte, err error) error {
			if err != nil {
				bad = append(bad, badPayload{s, h.off, h.last(), err})
			}
			r.Durable = max(r.Durable, h.durable)
			return nil
		}); err != nil {
			return r, &redoubt.Error{Op: "verify journal", Object: dir, Err: err}
		}
		if r.take(in, s, prev) {
			prev = s
		}
	}
	if prev == nil {
		r.First, r.Last = in.facts.Base.LSN+1, in.facts.Base.LSN
	}
	if err := r.sweep(in, segs, prev, bad); err != nil {
		return r, &redoubt.Error{Op: "verify journal", Object: dir, Err: err}
	}
	for _, b := range bad {
		if b.last <= r.Durable {
			r.problem("%s at %d: %v", b.s.file.Name(), b.off, b.err)
		} else {
			r.note("%s at %d: %v; it was not durable and will be cut off", b.s.file.Name(), b.off, b.err)
		}
	}
	if err := in.gap(); err != nil {
		r.problem("%v", err)
	}
	if r.Last < r.Durable {
		r.problem("records %d to %d were durable and are missing", r.Last+1, r.Durable)
		if prev != nil && prev.ends != nil {
			r.problem("%v", prev.ends)
		}
	}
	if !r.OK() {
		return r, &redoubt.Error{Op: "verify journal", Object: dir, Err: fmt.Errorf("%d problems, first: %s: %w", len(r.Problems), r.Problems[0], redoubt.ErrCorrupt)}
	}
	return r, nil
}

// sweep looks behind the end of the chain, and behind batches that may end it,
// for what vouches for lost records.
func (r *Report) sweep(in *inspector, segs []*seen, last *seen, bad []badPayload) error {
	rec := &recovery{id: in.id, facts: in.facts, watermark: r.Durable}
	var lastSeq uint64
	if last != nil {
		lastSeq = last.seq
		if !last.sealed {
			if err := rec.sweepSegment(last.segment, last.w.end, lastSeq); err != nil {
				return err
			}
		}
	}
	for _, b := range bad {
		if err := rec.sweepSegment(b.s.segment, b.off, b.s.seq); err != nil {
			return err
		}
	}
	for _, s := range segs {
		if s == last || s.skip != "" && !s.headless && !s.missized {
			continue
		}
		err := rec.sweepOther(s.segment, lastSeq)
		if s.missized && errors.Is(err, redoubt.ErrCorrupt) {
			r.problem("%v", err)
		} else if err != nil {
			return err
		}
	}
	r.Durable = rec.watermark
	return nil
}

// take adds a segment to the report if it is part of the chain.
func (r *Report) take(in *inspector, s, prev *seen) bool {
	if s.footer != nil && s.skip == "" {
		r.Durable = max(r.Durable, s.footer.last)
		if s.w.end != s.footer.end || s.w.last != s.footer.last {
			why := s.ends
			if why == nil {
				why = errors.New("the footer says something else")
			}
			r.problem("%s: batches end at %d with LSN %d, the footer says %d with LSN %d: %v", s.file.Name(), s.w.end, s.w.last, s.footer.end, s.footer.last, why)
		}
	}
	switch {
	case s.skip != "":
		r.note("%s: %s", s.file.Name(), s.skip)
		return false
	case s.w.records == 0 || s.w.last < in.facts.Tail:
		return false
	case prev == nil && s.w.first > in.facts.Tail:
		r.problem("records %d to %d are missing", in.facts.Tail, s.w.first-1)
	case prev != nil && s.w.first != prev.w.last+1 && !(prev.w.more && s.w.first == prev.w.last):
		r.note("%s: begins with LSN %d after %d; not part of the journal", s.file.Name(), s.w.first, prev.w.last)
		return false
	}
	if prev == nil {
		r.First = s.w.first
	}
	r.Segments++
	r.Batches += int64(s.w.batches)
	r.Records += int64(s.w.records)
	r.Bytes += s.w.payload
	r.Last = s.w.last
	r.Epoch = max(r.Epoch, s.w.epoch)
	return true
}
