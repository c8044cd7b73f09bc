package blockdev

import (
	"encoding/binary"

	"github.com/redoubt-dr/redoubt"
)

// readNow answers a READ from memory and page cache, or reports false if it is
// long or would wait.
func (c *conn) readNow(req request) bool {
	if req.len > inlineRead {
		return false
	}
	head := c.dataHeadLen()
	b := c.room(head + int(req.len))
	if req.len > 0 && !c.vol.disk.tryRead(b[head:], req.off) {
		c.out = c.out[:len(c.out)-len(b)]
		return false
	}
	c.dataHead(b[:0], req)
	c.vol.disk.count.read(req)
	c.told.add(classRead, req.at)
	return true
}

// readLater hands a READ or BLOCK_STATUS to a worker. When all are busy the
// reader loop waits, and so the client.
func (c *conn) readLater(req request) {
	if !c.slow.TryAcquire(c.weight(req)) {
		c.commit()
		c.send()
		if err := c.slow.Acquire(c.ctx, c.weight(req)); err != nil {
			return // the connection is being given up
		}
	}
	select {
	case c.jobs <- req:
		return
	default:
	}
	if c.workers < c.srv.o.SlowReads {
		c.workers++
		c.wg.Add(1)
		go c.work(c.jobs)
	} else {
		c.commit()
		c.send()
	}
	c.jobs <- req
}

// weight is the memory that the answer to a slow request takes.
func (c *conn) weight(req request) int64 {
	switch {
	case req.typ == cmdBlockStatus:
		return maxDescriptors * 8
	case req.typ == cmdCache:
		return simpleLen
	case c.inPieces(req):
		return inlineRead
	}
	return int64(req.len)
}

// inPieces reports whether a READ may be answered by several chunks, so that a
// long one needs no long buffer.
func (c *conn) inPieces(req request) bool {
	return c.structured && req.typ == cmdRead && req.flags&cmdFlagDF == 0 && req.len > inlineRead
}

// work answers slow requests until jobs is closed. It keeps one buffer for
// reads of ordinary length.
func (c *conn) work(jobs <-chan request) {
	defer c.wg.Done()
	var keep []byte
	for req := range jobs {
		var b []byte
		var err error
		switch {
		case req.typ == cmdBlockStatus:
			b = c.blockStatus(req)
		case req.typ == cmdCache:
			b = c.prefetch(req)
		case c.inPieces(req):
			if keep == nil {
				keep = make([]byte, inlineRead+structuredLen+8)
			}
			b, err = c.readPieces(keep, req)
		default:
			n := c.dataHeadLen() + int(req.len)
			if b = keep; cap(b) < n {
				b = make([]byte, n)
				if n <= inlineRead+structuredLen+8 {
					keep = b
				}
			}
			b = c.readWait(b[:n], req)
		}
		if err == nil {
			err = c.write(b)
		}
		c.slow.Release(c.weight(req))
		if err != nil {
			c.raw.Close() // the reader loop notices
		}
	}
}

func (c *conn) readWait(b []byte, req request) []byte {
	head := c.dataHeadLen()
	c.vol.disk.count.slowReads.Add(1)
	if err := c.vol.disk.read(b[head:], req.off); err != nil {
		c.vol.disk.count.errors.Add(1)
		c.log.Warn("read failed", "off", req.off, "len", req.len, "err", err)
		return c.appendRefusal(b[:0], req, errnoOf(err))
	}
	c.dataHead(b[:0], req)
	c.vol.disk.count.read(req)
	c.vol.observe(classRead, req.at, c.vol.g.clock(), 1)
	return b
}

// readPieces answers a long READ by OFFSET_DATA chunks. The last, or one that
// tells of an error, is returned unsent. It fails if the client is gone.
func (c *conn) readPieces(b []byte, req request) ([]byte, error) {
	head := c.dataHeadLen()
	c.vol.disk.count.slowReads.Add(1)
	for off, end := req.off, req.off+uint64(req.len); ; {
		n := min(end-off, inlineRead)
		if err := c.vol.disk.read(b[head:head+int(n)], off); err != nil {
			c.vol.disk.count.errors.Add(1)
			c.log.Warn("read failed", "off", off, "len", n, "err", err)
			return c.appendRefusal(b[:0], req, errnoOf(err)), nil
		}
		flags := uint16(0)
		if off+n == end {
			flags = chunkDone
		}
		binary.BigEndian.AppendUint64(appendChunk(b[:0], flags, chunkOffsetData, req.cookie, 8+int(n)), off)
		if off += n; off == end {
			c.vol.disk.count.read(req)
			return b[:head+int(n)], nil
		}
		if err := c.write(b[:head+int(n)]); err != nil {
			return nil, err
		}
	}
}

// prefetch answers CACHE. It is a hint: what the backing makes of it is not told.
func (c *conn) prefetch(req request) []byte {
	if p, ok := c.vol.disk.backing.(prefetcher); ok && req.len > 0 {
		p.Prefetch(redoubt.Extent{Off: req.off, Len: uint64(req.len)})
	}
	return appendSimple(nil, req.cookie, 0)
}

// dataHeadLen is the length of what precedes the data of a READ's answer.
func (c *conn) dataHeadLen() int {
	if c.structured {
		return structuredLen + 8
	}
	return simpleLen
}

// dataHead appends what precedes the data of a successful READ.
func (c *conn) dataHead(b []byte, req request) {
	if !c.structured {
		appendSimple(b, req.cookie, 0)
		return
	}
	b = appendChunk(b, chunkDone, chunkOffsetData, req.cookie, 8+int(req.len))
	binary.BigEndian.AppendUint64(b, req.off)
}

// refuse answers a READ or BLOCK_STATUS with an error.
func (c *conn) refuse(req request, errno uint32) {
	c.vol.disk.count.errors.Add(1)
	c.out = c.appendRefusal(c.out, req, errno)
}

func (c *conn) appendRefusal(b []byte, req request, errno uint32) []byte {
	if !c.structured {
		return appendSimple(b, req.cookie, errno)
	}
	b = appendChunk(b, chunkDone, chunkError, req.cookie, 6)
	b = binary.BigEndian.AppendUint32(b, errno)
	return binary.BigEndian.AppendUint16(b, 0) // no message
}

func (c *counters) read(req request) {
	c.reads.Add(1)
	c.readBytes.Add(uint64(req.len))
}

// maxDescriptors bounds the answer to one BLOCK_STATUS.
const maxDescriptors = 1024

// blockStatus tells which parts of the range are holes, and so zeros.
func (c *conn) blockStatus(req request) []byte {
	limit := maxDescriptors
	if req.flags&cmdFlagReqOne != 0 {
		limit = 1
	}
	body := binary.BigEndian.AppendUint32(nil, contextAllocationID)
	n := 0
	add := func(length uint64, state uint32) {
		if length > 0 && n < limit {
			body = binary.BigEndian.AppendUint32(body, uint32(length))
			body = binary.BigEndian.AppendUint32(body, state)
			n++
		}
	}
	e := redoubt.Extent{Off: req.off, Len: uint64(req.len)}
	for at := e.Off; at < e.End() && n < limit; {
		d, ok := c.vol.disk.nextData(at)
		if d = d.Intersect(e); !ok || d.Empty() {
			add(e.End()-at, stateHole|stateZero)
			break
		}
		add(d.Off-at, stateHole|stateZero)
		add(d.Len, 0)
		at = d.End()
	}
	return append(appendChunk(nil, chunkDone, chunkStatus, req.cookie, len(body)), body...)
}
