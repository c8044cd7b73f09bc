package segment

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// Numbers lists the log's files, the oldest first. The last one may be open for
// writing.
func (l *Log) Numbers() []uint64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Sorted(maps.Keys(l.files))
}

// Length returns the bytes that the shard's record takes on disk.
func (i *Info) Length() int64 {
	h := int64(fixedLen+len(i.Group)+len(i.UUID)+4) + 4*int64(chunks(i.ShardLen, chunkSize))
	return roundUp(h + int64(i.HeadLen) + int64(i.ShardLen))
}

// uncacher is a file whose cached pages can be dropped, so that the next read
// asks the disk.
type uncacher interface {
	Uncache(off, n int64) error
}

// Scrub reads the whole record of a shard from the disk and verifies all of it;
// nothing that is in memory is believed. ErrNotFound if the shard is not stored
// (any more), ErrCorrupt if it does not hold. Any other error is the disk's.
func (l *Log) Scrub(id ID) error {
	p, ok, err := l.find(id)
	if err == nil && !ok {
		return notFound("scrub shard", id)
	}
	fail := func(err error) error {
		if now, ok, ferr := l.find(id); ferr == nil && (!ok || now != p) {
			return notFound("scrub shard", id) // it was replaced or moved meanwhile
		}
		return &redoubt.Error{Op: "scrub shard", Object: id.String(), Err: err}
	}
	if err != nil {
		return fail(err)
	}
	l.uncache(p.file, p.off, roundUp(int64(p.headerLen)+int64(p.headLen)+int64(p.shardLen)))
	b := slab.Get(int(p.headerLen) + int(p.headLen) + int(p.shardLen))
	defer slab.Put(b)
	if err := l.readAt(p, b, p.off); err != nil {
		return fail(err)
	}
	h, err := decodeHeader(b)
	switch {
	case errors.Is(err, redoubt.ErrVersion):
		err = corrupt("record version") // it was ours when it was entered into the map
	case err != nil:
	case h.ID != id || h.Type != typeShard:
		err = corrupt("record of another shard " + h.ID.String())
	case h.File != p.file || h.Offset != p.off || h.Len != p.headerLen || h.ShardLen != p.shardLen || h.HeadLen != p.headLen || h.Size != p.size || h.K != p.k || h.M != p.m:
		err = corrupt("record of another place")
	default:
		err = h.checkParts(b[h.Len:])
	}
	if err != nil {
		return fail(err)
	}
	return nil
}

func (l *Log) uncache(file uint64, off, n int64) {
	l.mu.RLock()
	f := l.files[file]
	l.mu.RUnlock()
	if f == nil {
		return
	}
	if u, ok := f.File.(uncacher); ok {
		_ = u.Uncache(off, n) // best effort: then memory is verified
	}
}

// ScrubFile verifies what a sealed file has beside its records: the file header,
// the footer and the trailer. If they do not hold they are written anew, from
// the records; reason says what was wrong. A footer of an older version is
// written in the present one. The file that is written now is left alone.
func (l *Log) ScrubFile(n uint64) (reason error, err error) {
	reason, err = l.scrubFile(n)
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.files[n] == nil {
		return nil, nil // it was given back meanwhile, closed under our hands
	}
	return reason, err
}

func (l *Log) scrubFile(n uint64) (reason error, err error) {
	l.mending.Lock()
	defer l.mending.Unlock()
	l.mu.RLock()
	f := l.files[n]
	var t *listing
	if f != nil {
		t = f.list
	}
	l.mu.RUnlock()
	if t == nil {
		return nil, nil
	}
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	l.uncache(n, 0, sector)
	l.uncache(n, t.off, size-t.off)
	b := make([]byte, min(sector, size))
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	header := checkFileHeader(b, n)
	_, version, _, sealed, err := readFooter(f, n, size)
	switch {
	case err != nil && !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion):
		return nil, err
	case !sealed:
		reason = fmt.Errorf("footer: %w", cmp.Or(err, corrupt("trailer")))
	}
	if header != nil {
		reason = errors.Join(header, reason)
		if _, err := f.WriteAt(encodeFileHeader(n), 0); err != nil {
			return reason, err
		}
		if err := f.Sync(); err != nil {
			return reason, err
		}
	}
	if !sealed || version != footerVersion || t.mem != nil {
		err = l.mend(f, t, size)
	}
	return reason, err
}

// mend writes a file's footer from its records. Meanwhile it is listed in
// memory. l.mending is held.
func (l *Log) mend(f *logFile, t *listing, size int64) error {
	s := &scan{end: sector}
	if err := s.records(f, f.number, size, t.off); err != nil {
		return err
	}
	l.mu.Lock()
	gone := l.files[f.number] != f
	if !gone && t.mem == nil {
		anew, _ := inMemory(f, s.headers, s.end)
		l.relist(f, anew)
	}
	l.mu.Unlock()
	if gone {
		return nil
	}
	foot, err := sealFile(f, f.number, s.end, s.headers)
	if err != nil {
		return err // the list in memory stays
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.relist(f, newListing(f, &foot.geometry, &foot.summary))
	l.resize(f, foot.off+foot.length()+trailerLen)
	return nil
}

// resize notes how long a sealed file is. l.mu is held.
func (l *Log) resize(f *logFile, n int64) {
	l.bytes += n - f.bytes
	f.bytes = n
}
