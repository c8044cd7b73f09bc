package journal

import "github.com/redoubt-dr/redoubt"

// rewrite writes once more, in place, what recovery read of a segment and is
// not known to be durable. A sync alone does not make it so: after a write-back
// that failed Linux calls the pages clean, so they are read from the cache,
// never written again, and gone after a power cut. A batch that ends at the watermark may be the empty one
// of an open that failed, so it is written, too.
func rewrite(s *segment, heads []headRef, watermark redoubt.LSN) error {
	again := func(off, length int64) error {
		b := make([]byte, length)
		if err := readFull(s.file, b, off); err != nil {
			return err
		}
		return writeFull(s.file, b, off)
	}
	fresh := false
	for _, h := range heads {
		if h.last < watermark || h.off+h.length > s.w.end {
			continue
		}
		fresh = true
		if err := again(h.off, h.length); err != nil {
			return err
		}
	}
	if !fresh {
		return nil
	}
	return again(0, pageSize)
}
