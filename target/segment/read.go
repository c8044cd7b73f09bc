package segment

import (
	"errors"
	"fmt"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/slab"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// ReadRange returns n bytes of the shard from off on. Every chunk that the
// range touches is verified first; a mismatch is ErrCorrupt and returns no
// data. ErrNotFound if the shard is not stored.
func (l *Log) ReadRange(id ID, off, n uint32) ([]byte, error) {
	p, err := l.ReadPart(id, off, n)
	return p.Data, err
}

// ReadPart is ReadRange into recycled memory, which the caller frees.
func (l *Log) ReadPart(id ID, off, n uint32) (out slab.Part, err error) {
	_, err = l.stable("read shard", id, func(p place) (_ []byte, err error) {
		out, err = l.readRange(id, p, off, n)
		return nil, err
	})
	if err != nil {
		return slab.Part{}, err
	}
	return out, nil
}

// stable reads a record again if it was moved to another file meanwhile.
func (l *Log) stable(op string, id ID, read func(p place) ([]byte, error)) ([]byte, error) {
	for {
		p, ok, err := l.find(id)
		if err != nil {
			return nil, &redoubt.Error{Op: op, Object: id.String(), Err: err}
		}
		if !ok {
			return nil, notFound(op, id)
		}
		b, err := read(p)
		if err == nil || errors.Is(err, redoubt.ErrCorrupt) {
			return b, err
		}
		if now, ok, ferr := l.find(id); ferr != nil || ok && now == p {
			return nil, err
		}
	}
}

func (l *Log) readRange(id ID, p place, off, n uint32) (slab.Part, error) {
	fail := func(err error) (slab.Part, error) {
		return slab.Part{}, &redoubt.Error{Op: "read shard", Object: id.String(), Err: err}
	}
	if uint64(off)+uint64(n) > uint64(p.shardLen) {
		return fail(fmt.Errorf("range %d+%d of %d bytes: %w", off, n, p.shardLen, redoubt.ErrInvalid))
	}
	if n == 0 {
		return slab.Part{}, nil
	}
	h, err := l.header(p)
	if err != nil {
		return fail(err)
	}
	if h.ID != id {
		return fail(corrupt("record of another shard " + h.ID.String()))
	}
	cs := h.ChunkSize
	first, last := off/cs, (off+n-1)/cs
	from, to := first*cs, min((last+1)*cs, h.ShardLen)
	at := p.off + int64(h.Len) + int64(h.HeadLen) + int64(from)
	out := l.readDirect(p, at, int(to-from))
	if out.Data == nil || h.verify(id, first, last, out.Data) != nil {
		// What a direct read says is not taken for rot: the file may just be written.
		out.Free()
		b := slab.Get(int(to - from))
		out = slab.PartOf(b, b)
		if err = l.readAt(p, b, at); err == nil {
			err = h.verify(id, first, last, b)
		}
		if err != nil {
			out.Free()
			return fail(err)
		}
	}
	out.Data = out.Data[off-from : off-from+n]
	return out, nil
}

// verify checks chunks first to last, which are b.
func (h *header) verify(id ID, first, last uint32, b []byte) error {
	bind := id.bind()
	for c := first; c <= last; c++ {
		part := b[(c-first)*h.ChunkSize : min(int((c-first+1)*h.ChunkSize), len(b))]
		if chunkSum(bind, int(c), part) != h.Chunks[c] {
			return corrupt(fmt.Sprintf("chunk %d", c))
		}
	}
	return nil
}

// ReadHead returns the head of the delta that was stored beside the shard,
// verified.
func (l *Log) ReadHead(id ID) ([]byte, error) {
	return l.stable("read head", id, func(p place) ([]byte, error) { return l.readHead(id, p) })
}

func (l *Log) readHead(id ID, p place) ([]byte, error) {
	h, err := l.header(p)
	if err == nil && h.ID != id {
		err = corrupt("record of another shard " + h.ID.String())
	}
	var b []byte
	if err == nil {
		b = make([]byte, h.HeadLen)
		err = l.readAt(p, b, p.off+int64(h.Len))
	}
	if err == nil && headSum(id.bind(), b) != h.HeadCRC {
		err = corrupt("head")
	}
	if err != nil {
		return nil, &redoubt.Error{Op: "read head", Object: id.String(), Err: err}
	}
	return b, nil
}

// Check reads the whole record and verifies it.
func (l *Log) Check(id ID) error {
	i, err := l.Info(id)
	if err != nil {
		return err
	}
	if _, err := l.ReadHead(id); err != nil {
		return err
	}
	_, err = l.ReadRange(id, 0, i.ShardLen)
	return err
}

// header returns the verified header of the record at p.
func (l *Log) header(p place) (*header, error) {
	return l.headers.Load(p, func() (*header, int64, error) {
		b := make([]byte, p.headerLen)
		if err := l.readAt(p, b, p.off); err != nil {
			return nil, 0, err
		}
		h, err := decodeHeader(b)
		if err != nil {
			return nil, 0, err
		}
		if h.File != p.file || h.Offset != p.off || h.ShardLen != p.shardLen || h.HeadLen != p.headLen {
			return nil, 0, corrupt("record of another place")
		}
		return h, int64(200 + 4*len(h.Chunks)), nil
	})
}

func (l *Log) readAt(p place, b []byte, off int64) error {
	l.mu.RLock()
	f, closed := l.files[p.file], l.closed
	l.mu.RUnlock()
	if closed || f == nil {
		return redoubt.ErrClosed
	}
	return readFull(f, b, off)
}

func readFull(f vfs.File, b []byte, off int64) error {
	if len(b) == 0 {
		return nil
	}
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if size, serr := f.Size(); serr == nil && off+int64(len(b)) > size {
		return corrupt("record passes the end of the file")
	}
	return err
}
