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
	if req.len == 0 && c.structured { // a chunk of data must not be empty
		c.out = appendChunk(c.out, chunkDone, chunkNone, req.cookie, 0)
		c.vol.disk.count.read(req)
		c.told.add(classRead, req.at)
		return true
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

// work answers slow requests until jobs is closed.
func (c *conn) work(jobs <-chan request) {
	defer c.wg.Done()
	for req := range jobs {
		err := c.answerSlow(req)
		c.slow.Release(c.weight(req))
		if err != nil {
			c.raw.Close() // the reader loop notices
		}
	}
}

// answerSlow answers one slow request. It fails if the connection cannot go on.
func (c *conn) answerSlow(req request) error {
	switch req.typ {
	case cmdBlockStatus:
		return c.write(c.blockStatus(req))
	case cmdCache:
		return c.write(c.prefetch(req))
	}
	c.vol.disk.count.slowReads.Add(1)
	n := c.dataHeadLen() + int(req.len)
	if c.inPieces(req) {
		n = pieceBuffer
	}
	b := c.srv.reads.buffer(n)
	if b == nil {
		return c.stream(req)
	}
	defer c.srv.reads.give(b)
	if c.inPieces(req) {
		return c.readPieces(*b, req, c.write)
	}
	return c.write(c.readWait(*b, req))
}

func (c *conn) readWait(b []byte, req request) []byte {
	head := c.dataHeadLen()
	if err := c.vol.disk.read(b[head:], req.off); err != nil {
		return c.readFailed(b, req, req.off, err)
	}
	c.dataHead(b[:0], req)
	c.vol.disk.count.read(req)
	c.vol.observe(classRead, req.at, c.vol.g.clock(), 1)
	return b
}

// readFailed counts a failure of the backing at off and returns the answer to req.
func (c *conn) readFailed(b []byte, req request, off uint64, err error) []byte {
	c.vol.disk.count.errors.Add(1)
	c.log.Warn("read failed", "off", off, "of", req.off, "len", req.len, "err", err)
	return c.appendRefusal(b[:0], req, errnoOf(err))
}

// readPieces answers a long READ by OFFSET_DATA chunks, or one that tells of an
// error. It fails if send does.
func (c *conn) readPieces(b []byte, req request, send func([]byte) error) error {
	head := c.dataHeadLen()
	for off, end := req.off, req.off+uint64(req.len); off < end; {
		n := min(end-off, inlineRead)
		if err := c.vol.disk.read(b[head:head+int(n)], off); err != nil {
			return send(c.readFailed(b, req, off, err))
		}
		flags := uint16(0)
		if off+n == end {
			flags = chunkDone
			c.vol.disk.count.read(req)
		}
		binary.BigEndian.AppendUint64(appendChunk(b[:0], flags, chunkOffsetData, req.cookie, 8+int(n)), off)
		if err := send(b[:head+int(n)]); err != nil {
			return err
		}
		off += n
	}
	return nil
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
