package journal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sort"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// inspector walks over a journal's files without changing them, also while the
// journal is in use by another process.
type inspector struct {
	fs    vfs.FS
	dir   string
	id    journalID
	facts *facts
}

func newInspector(fsys vfs.FS, dir string) (*inspector, error) {
	if fsys == nil {
		fsys = vfs.OS
	}
	f, _, err := loadFacts(fsys, dir)
	if isMissing(err) {
		err = fmt.Errorf("%w: %w", redoubt.ErrNotFound, err)
	}
	if err != nil {
		return nil, &redoubt.Error{Op: "read journal", Object: dir, Err: err}
	}
	id, err := f.id()
	if err != nil {
		return nil, &redoubt.Error{Op: "read journal", Object: dir, Err: err}
	}
	return &inspector{fs: fsys, dir: dir, id: id, facts: f}, nil
}

// seen is what the walk found in one segment file.
type seen struct {
	*segment
	footer   *extent // nil if there is none
	ends     error   // why the batches end before the segment does; nil if they do not
	skip     string  // why the file holds no records: free, forgotten by a reset, of an incomplete creation
	missized bool    // the file has a wrong size, which is in segment.size
	headless bool    // the header cannot be read; batches in it may still vouch for what was durable
}

// segments returns all segment files in order of seq; the caller closes them.
func (in *inspector) segments() (out []*seen, err error) {
	entries, err := in.fs.ReadDir(in.dir)
	if err != nil {
		return nil, err
	}
	for _, d := range entries {
		slot, ok := segmentSlot(d.Name())
		if !ok {
			continue
		}
		f, err := in.fs.OpenFile(segmentName(in.dir, slot), os.O_RDONLY, 0)
		if isMissing(err) {
			continue
		}
		if err != nil {
			return out, err
		}
		s := &seen{segment: &segment{file: f, slot: slot, size: in.facts.SegmentSize}}
		out = append(out, s)
		if err := in.header(s); err != nil {
			return out, err
		}
	}
	sort.SliceStable(out, func(a, b int) bool { return out[a].seq < out[b].seq })
	return out, nil
}

// header reads a segment's header and footer.
func (in *inspector) header(s *seen) error {
	size, err := s.file.Size()
	if err != nil {
		return err
	}
	if size != s.size {
		s.skip, s.missized = fmt.Sprintf("has %d bytes instead of %d", size, s.size), true
		s.size = size
		return nil
	}
	page := make([]byte, pageSize)
	if err := readFull(s.file, page, 0); err != nil {
		return err
	}
	id, seq, _, err := decodeHeader(page)
	switch {
	case errors.Is(err, redoubt.ErrVersion):
		return err
	case err != nil:
		s.skip, s.headless = "no valid header", true
		return nil
	case id != in.id:
		s.skip = "belongs to another journal"
		return nil
	}
	s.seq = seq
	if seq < in.facts.MinSeq {
		s.skip = "forgotten by a reset"
		return nil
	}
	if err := readFull(s.file, page, s.limit()); err != nil {
		return err
	}
	if e, id, fseq, err := decodeFooter(page); err == nil && id == in.id && fseq == seq && e.end <= s.limit() {
		s.footer, s.sealed = &e, true
	}
	return nil
}

// walk calls visit with every batch of s and what is wrong with its payload;
// it leaves in s.w what it found. A file that was taken for a new use
// meanwhile gets a skip.
func (in *inspector) walk(s *seen, visit func(h *batchHead, payload []byte, bad error) error) error {
	s.w = extent{end: pageSize}
	limit := s.limit()
	if s.footer != nil {
		limit = s.footer.end
	}
	var failed error
	s.ends = scanHeads(&pager{file: s.file, size: s.size}, in.id, s.segment, &s.w, limit, func(h *batchHead) {
		if failed != nil {
			return
		}
		p := make([]byte, h.payload)
		bad := readFull(s.file, p, h.off+pageSize)
		if bad == nil {
			_, bad = h.records(p, func(*redoubt.Write) (bool, error) { return true, nil })
		}
		failed = visit(h, p, bad)
	})
	page := make([]byte, pageSize)
	if err := readFull(s.file, page, 0); err != nil && err != io.ErrUnexpectedEOF {
		return err
	}
	if _, seq, _, err := decodeHeader(page); err != nil || seq != s.seq {
		s.skip = "was recycled during the read"
	}
	return failed
}

// gap checks the dirty map, if the facts tell of one.
func (in *inspector) gap() error {
	g := in.facts.Gap
	if g == nil {
		return nil
	}
	x, _, err := openDirtyFile(in.fs, in.dir, in.id, g.Number, g.Len, os.O_RDONLY)
	if err == nil {
		return x.file.Close()
	}
	// Whoever uses the journal may have replaced it since the facts were read.
	if now, _, ferr := loadFacts(in.fs, in.dir); ferr == nil && (now.Gap == nil || now.Gap.Number != g.Number) {
		return nil
	}
	return fmt.Errorf("%s: %w", dirtyName(in.dir, g.Number), err)
}
