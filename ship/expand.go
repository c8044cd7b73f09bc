package ship

import (
	"errors"

	"github.com/redoubt-dr/redoubt"
)

// add puts the journal's record w into b. It returns the LSN up to which the
// journal must be durable before the delta may be shipped.
func (s *Sender) add(b *Builder, w *redoubt.Write, reverse bool) (redoubt.LSN, error) {
	switch w.Kind {
	case redoubt.KindCopy:
		if w.Data != nil {
			break // came whole, from another sender
		}
		if s.o.SkipCopies {
			return w.LSN, b.Advance(w.LSN, w.Time)
		}
		return s.addCopy(b, w, reverse)
	case redoubt.KindBaseline:
		if s.o.SkipCopies {
			return w.LSN, b.Advance(w.LSN, w.Time)
		}
		// Every copy before was read before now, so it holds nothing newer than the head.
		whole := s.o.Journal.Head().LSN
		return whole, b.Baseline(w.LSN, w.Time, whole)
	case redoubt.KindLeave:
		return w.LSN, addLeave(b, w)
	}
	return w.LSN, b.Add(w)
}

// addLeave ships the end of a disk, with a trim of all of it: so what its history
// holds goes when no retained point shows it any more. The trim is made here and
// not in the journal, which would apply it to the image.
func addLeave(b *Builder, w *redoubt.Write) error {
	if err := b.Add(w); err != nil {
		return err
	}
	return b.Put(redoubt.KindTrim, w.Disk, redoubt.Extent{Len: w.Extent.Off}, nil, 0)
}

// addCopy ships the present content of a copy record's extent. The content may
// be newer than the record: so the journal is made durable up to its head of
// after the reading, or a power cut could leave the secondary with writes that
// the source has lost.
func (s *Sender) addCopy(b *Builder, w *redoubt.Write, reverse bool) (redoubt.LSN, error) {
	if err := s.checkCopy(w, reverse); err != nil {
		return 0, err
	}
	if err := b.Advance(w.LSN, w.Time); err != nil {
		return 0, err
	}
	buf := b.mem.lend(int(w.Extent.Len))
	if err := s.o.Current.ReadCurrent(w.Disk, buf, w.Extent.Off); errors.Is(err, redoubt.ErrNotFound) {
		return w.LSN, nil // the disk left while it was copied: no point has it
	} else if err != nil {
		return 0, &redoubt.Error{Op: "read disk to copy", Object: w.Disk.String() + " " + w.Extent.String(), Err: err}
	}
	head := s.o.Journal.Head().LSN
	if reverse {
		if isZero(buf) {
			return head, b.Put(redoubt.KindZero, w.Disk, w.Extent, nil, 0)
		}
		return head, b.Put(redoubt.KindCopy, w.Disk, w.Extent, buf, redoubt.Checksum(buf))
	}
	return head, zeroRuns(w.Extent.Off, buf, func(from, to int, zero bool) error {
		if zero {
			return b.Put(redoubt.KindZero, w.Disk, redoubt.Extent{Off: w.Extent.Off + uint64(from), Len: uint64(to - from)}, nil, 0)
		}
		for at := from; at < to; at += MaxBlock {
			p := buf[at:min(to, at+MaxBlock)]
			x := redoubt.Extent{Off: w.Extent.Off + uint64(at), Len: uint64(len(p))}
			if err := b.Put(redoubt.KindCopy, w.Disk, x, p, redoubt.Checksum(p)); err != nil {
				return err
			}
		}
		return nil
	})
}

// maxCopy is the longest extent of a copy record in bytes. In the reverse
// direction each LSN becomes one record of the replica's journal, so there it is
// one write's.
const maxCopy = 1 << 20

func (s *Sender) checkCopy(w *redoubt.Write, reverse bool) error {
	limit := uint64(maxCopy)
	if reverse {
		limit = redoubt.MaxWriteData
	}
	if s.o.Current == nil || w.Extent.Empty() || w.Extent.Len > limit {
		return &redoubt.Error{Op: "ship copy record", Object: w.LSN.String() + " " + w.Extent.String(), Err: redoubt.ErrInvalid,
			Hint: "copy records are at most 1 MiB long, 256 KiB in the reverse direction"}
	}
	return nil
}
