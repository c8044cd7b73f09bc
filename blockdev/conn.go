package blockdev

import (
	"container/list"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

// conn serves one client on one goroutine: it reads as many requests as one
// system call brings, answers them into one buffer, takes all their writes into
// the group's order at once, and sends the buffer. Only reads that would wait
// for the backing are handed to workers (read.go).
type conn struct {
	srv  *Server
	raw  net.Conn // the socket
	nc   net.Conn // what is spoken over: raw, or tls
	tls  *tls.Conn
	sec  *Security // nil: plain
	log  *slog.Logger
	done chan struct{} // closed when nothing of the connection runs any more

	lobby    *lobby
	place    *list.Element // in the lobby; under srv.mu
	admitted bool          // under srv.mu
	watched  watched       // under srv.mu
	pulse    pulse

	ctx    context.Context // ends when the server gives the connection up
	cancel context.CancelFunc

	// Agreed in the handshake.
	export     Export // set under srv.mu
	joined     bool   // requests are being served; set under srv.mu
	structured bool
	allocation bool    // block status of base:allocation
	metaName   *string // the export that allocation was set for

	vol   *Volume
	in    *chunk
	r, w  int // in.b[r:w] is not parsed yet
	cur   incoming
	ws    []redoubt.Write // parsed, not yet journaled; their data lies in in
	acks  []ack           // answers that depend on ws or on a sync
	out   []byte          // answers that are ready
	now   int64           // when the last read from the socket returned, of the group's clock
	told  timings         // requests whose answers are in out
	sendE error           // first failure of sending from the reader loop

	retiring atomic.Bool    // the server wants the connection back, see retire
	taken    *handover.Conn // from another life of the daemon; nil: through a handshake

	reads   uint64 // calls, as pulse counts them
	resting bool   // in is a restChunk

	sendMu  sync.Mutex // one answer at a time on nc
	syncs   syncs      // answers that wait for a sync beside the reader loop
	habit   habit
	peek    *peek
	spare   []byte // for stream, or nil; under sendMu
	jobs    chan request
	workers int
	wg      sync.WaitGroup
	slow    *semaphore.Weighted // bytes of slow reads
}

// incoming is a WRITE whose payload is being received.
type incoming struct {
	on     bool
	cookie uint64
	fua    bool
	errno  uint32 // not 0: the payload is skipped
	off    uint64 // of the next byte
	left   uint64
	at     int64 // when its header came
}

// ack is an answer without data.
type ack struct {
	cookie uint64
	errno  uint32
	sync   bool        // after a sync
	upTo   redoubt.LSN // that makes everything up to here durable
	class  class
	at     int64 // when the request came
}

const (
	batchWrites = 512       // most writes that enter the order together
	inlineRead  = 256 << 10 // longest READ that is answered by the reader loop
	outTarget   = 256 << 10 // answers are sent when there are that many bytes
	readMin     = 8 << 10   // least room for a read from the socket
	pieceMax    = uint64(redoubt.MaxWriteData)
)

func (c *conn) transmit() error {
	for {
		err := c.parse()
		c.commit()
		c.send()
		c.syncAhead()
		if err == nil {
			err = c.sendE
		}
		if err == nil && c.retiring.Load() {
			err = errRetired
		}
		if err == nil {
			err = c.fill()
		}
		if err != nil {
			return err
		}
	}
}

// parse serves everything that is complete in the buffer.
func (c *conn) parse() error {
	for {
		if c.cur.on {
			if !c.payload() {
				return nil
			}
			continue
		}
		if c.w-c.r < requestLen {
			return nil
		}
		req, ok := parseRequest(c.in.b[c.r:])
		if !ok {
			return fmt.Errorf("request without the magic number, %#x: %w", c.in.b[c.r:c.r+4], redoubt.ErrInvalid)
		}
		c.r += requestLen
		req.at = c.now
		if req.typ == cmdDisc {
			return errLeft
		}
		c.serve(req)
	}
}

// serve begins or finishes one request.
func (c *conn) serve(req request) {
	errno := c.judge(req)
	fua := req.flags&cmdFlagFUA != 0
	switch {
	case req.typ == cmdWrite:
		c.cur = incoming{on: true, cookie: req.cookie, fua: fua, errno: errno, off: req.off, left: uint64(req.len), at: req.at}
	case req.typ == cmdRead, req.typ == cmdBlockStatus, req.typ == cmdCache && errno == 0:
		if errno != 0 {
			c.refuse(req, errno)
		} else if req.typ != cmdRead || !c.readNow(req) {
			c.readLater(req)
		}
	case errno != 0:
		c.ack(ack{cookie: req.cookie, errno: errno, class: classWrite, at: req.at})
	case req.typ == cmdFlush:
		c.vol.disk.count.flushes.Add(1)
		c.ack(ack{cookie: req.cookie, sync: true, class: classFlush, at: req.at})
	default: // TRIM, WRITE_ZEROES
		kind := redoubt.KindTrim
		if req.flags&cmdFlagNoHole != 0 {
			kind = redoubt.KindZero
		}
		e := redoubt.Extent{Off: req.off, Len: uint64(req.len)}
		if !aligned(e) {
			c.commit()
			errno = c.errno(c.vol.submitUnaligned(c.ctx, kind, e, nil))
		} else if !e.Empty() {
			c.ws = append(c.ws, redoubt.Write{Disk: c.vol.disk.info.ID, Kind: kind, Extent: e})
		}
		c.ack(ack{cookie: req.cookie, errno: errno, sync: fua, class: classWrite, at: req.at})
	}
}

// payload takes the next piece of the current WRITE; false if it has not come yet.
func (c *conn) payload() bool {
	u := &c.cur
	if u.errno != 0 {
		n := min(uint64(c.w-c.r), u.left)
		c.r, u.left = c.r+int(n), u.left-n
	} else if n := u.piece(); uint64(c.w-c.r) < n {
		return false
	} else if n > 0 {
		e := redoubt.Extent{Off: u.off, Len: n}
		data := c.in.b[c.r : c.r+int(n) : c.r+int(n)]
		if aligned(e) {
			c.ws = append(c.ws, redoubt.Write{Disk: c.vol.disk.info.ID, Kind: redoubt.KindWrite,
				Extent: e, CRC: redoubt.Checksum(data), Data: data})
		} else {
			c.commit()
			if u.errno == 0 {
				u.errno = c.errno(c.vol.submitUnaligned(c.ctx, redoubt.KindWrite, e, data))
			}
		}
		c.r, u.off, u.left = c.r+int(n), u.off+n, u.left-n
	}
	if u.left > 0 {
		return c.w > c.r
	}
	u.on = false
	c.ack(ack{cookie: u.cookie, errno: u.errno, sync: u.fua, class: classWrite, at: u.at})
	return true
}

// piece is the length of the next part of the payload that becomes one write:
// cut at multiples of pieceMax, so that no sector is torn.
func (u *incoming) piece() uint64 { return min(u.left, pieceMax-u.off%pieceMax) }

// ack notes an answer; it is given by commit.
func (c *conn) ack(a ack) {
	c.acks = append(c.acks, a)
	if len(c.acks) >= batchWrites || len(c.ws) >= batchWrites {
		c.commit()
	}
}

// commit takes the parsed writes into the group's order and answers everything
// that waited for that. Answers that need a sync come after those that do not.
func (c *conn) commit() {
	var errno uint32
	var last redoubt.LSN
	if len(c.ws) > 0 {
		c.habit.wrote = true
		errno = c.errno(c.vol.g.submit(submission{ws: c.ws, ctx: c.ctx}))
		if errno == 0 {
			last = c.ws[len(c.ws)-1].LSN
			c.in.last = max(c.in.last, last)
		} else if c.cur.on && c.cur.errno == 0 {
			c.cur.errno = errno
		}
		c.ws = c.ws[:0]
	}
	waiting := c.acks[:0]
	for _, a := range c.acks {
		if a.errno == 0 {
			a.errno = errno
		}
		if a.sync && a.errno == 0 {
			waiting = append(waiting, a)
		} else {
			c.answer(a)
		}
	}
	if len(waiting) > 0 {
		c.settle(waiting)
	}
	c.acks = c.acks[:0]
}

func (c *conn) answer(a ack) {
	c.out = appendSimple(c.out, a.cookie, a.errno)
	if a.errno == 0 {
		c.told.add(a.class, a.at)
	}
}

// errno maps err and counts it.
func (c *conn) errno(err error) uint32 {
	n := errnoOf(err)
	if n != 0 {
		c.vol.disk.count.errors.Add(1)
		c.log.Debug("NBD request failed", "err", err)
	}
	return n
}

// send sends the answers that are ready.
func (c *conn) send() {
	if len(c.out) == 0 {
		return
	}
	c.told.observe(c.vol) // before the write: how fast a client reads is its own affair
	err := c.write(c.out)
	c.out = c.out[:0]
	if err != nil && c.sendE == nil {
		c.sendE = err
	}
}

// room returns n bytes at the end of out to be filled.
func (c *conn) room(n int) []byte {
	if len(c.out) > 0 && len(c.out)+n > outTarget {
		c.send()
	}
	c.out = slices.Grow(c.out, n)[:len(c.out)+n]
	return c.out[len(c.out)-n:]
}

// fill reads from the socket, first making room for what is being waited for.
func (c *conn) fill() error {
	need := requestLen
	if c.cur.on && c.cur.errno == 0 {
		need = int(c.cur.piece())
	}
	b := c.in.b
	if c.r == c.w && c.r > 0 && c.vol.g.chunks.reusable(c.in) {
		c.r, c.w = 0, 0
	}
	if !c.resting && (len(b)-c.r < need || len(b)-c.w < readMin) {
		if len(b) >= need+readMin && c.vol.g.chunks.reusable(c.in) {
			c.w = copy(b, b[c.r:c.w])
		} else {
			next := c.nextChunk(need)
			c.w = copy(next.b, b[c.r:c.w])
			c.vol.g.chunks.retire(c.in)
			c.in = next
		}
		c.r = 0
	}
	c.beginRead()
	n, err := c.nc.Read(c.in.b[c.w:])
	c.endRead()
	c.w += n
	if n > 0 {
		c.now = c.vol.g.clock()
		c.resting = false
		return nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) { // the watch found us idle
		if c.w == c.r && !c.cur.on && !c.resting {
			c.rest()
		}
		return c.raw.SetReadDeadline(time.Time{})
	}
	if err == io.EOF && (c.cur.on || c.w > c.r) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// nextChunk returns memory to go on with: after a rest a small chunk again, and
// a large one for a client that writes more than that holds.
func (c *conn) nextChunk(need int) *chunk {
	if len(c.in.b) == restChunk && need+readMin <= smallChunk {
		return &chunk{b: make([]byte, smallChunk)}
	}
	return c.vol.g.chunks.get()
}
