package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Image is the disks of a group as they are at one position. Reads may be
// concurrent.
type Image interface {
	Position() redoubt.Position
	Disks() []redoubt.Disk
	// NextData returns the next extent at or after from that may hold anything
	// but zeros; ok is false if there is none.
	NextData(d redoubt.DiskID, from uint64) (e redoubt.Extent, ok bool, err error)
	// Read fills p. It may wait, so that others are not held up, until ctx ends.
	Read(ctx context.Context, d redoubt.DiskID, p []byte, off uint64) error
	Close() error
}

// Store is where a Server finds images. Its methods may be called concurrently.
type Store interface {
	// OpenImage checks that peer may see the group's disks, and opens them.
	OpenImage(ctx context.Context, peer pki.Identity, a Ask) (Image, error)
	// Note keeps what a comparison found, for the operator.
	Note(ctx context.Context, peer pki.Identity, group redoubt.GroupID, r Record) error
}

// maxClients is how many connections a server answers at once: each takes about
// 6 MiB of memory.
const maxClients = 16

// Server answers clients. Its methods may be called concurrently.
type Server struct {
	store Store
	log   *slog.Logger
	ctx   context.Context
	end   context.CancelFunc
	wg    sync.WaitGroup
	slots chan struct{}

	mu     sync.Mutex
	closed bool
	ls     map[net.Listener]struct{}
}

// NewServer returns a server that does nothing until Serve.
func NewServer(st Store, log *slog.Logger) *Server {
	ctx, end := context.WithCancel(context.Background())
	return &Server{store: st, log: log, ctx: ctx, end: end, slots: make(chan struct{}, maxClients), ls: map[net.Listener]struct{}{}}
}

// Serve accepts until l or the server is closed, then returns nil. Connections
// must have Identity() pki.Identity, as netmux.Conn has.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.ls[l] = struct{}{}
	s.mu.Unlock()
	for {
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return &redoubt.Error{Op: "accept comparisons", Err: err}
		}
		if !s.begin(c) {
			c.Close()
		}
	}
}

func (s *Server) begin(c net.Conn) bool {
	id, ok := c.(interface{ Identity() pki.Identity })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || !ok {
		return false
	}
	s.wg.Go(func() { s.serve(c, id.Identity()) })
	return true
}

// Close ends all connections and waits for them.
func (s *Server) Close() error {
	s.mu.Lock()
	s.closed = true
	for l := range s.ls {
		l.Close()
	}
	s.mu.Unlock()
	s.end()
	s.wg.Wait()
	return nil
}

func (s *Server) serve(c net.Conn, peer pki.Identity) {
	defer c.Close()
	p := &asked{s: s, conn: c, peer: peer, h: newHasher()}
	p.ctx, p.end = context.WithCancel(s.ctx)
	defer context.AfterFunc(p.ctx, func() { c.Close() })()
	defer p.end()
	defer p.close()
	err := p.run()
	if err == nil || errors.Is(err, io.EOF) || s.ctx.Err() != nil {
		return
	}
	s.log.Warn("a comparison ended", "peer", peer.String(), "group", p.group, "err", err, "hint", redoubt.Hint(err))
	if p.write(frameError, wire.EncodeError(err)) == nil {
		// Closing over unread input would discard the error on its way.
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = io.Copy(io.Discard, c)
	}
}

// asked is one connection at the server.
type asked struct {
	s     *Server
	conn  net.Conn
	peer  pki.Identity
	group redoubt.GroupID
	ctx   context.Context
	end   context.CancelFunc
	wmu   sync.Mutex
	h     *hasher
	slot  [slots]*opened
}

func (p *asked) close() {
	for _, o := range p.slot {
		if o != nil {
			_ = o.image.Close()
		}
	}
}

func (p *asked) write(typ uint8, body []byte) error {
	p.wmu.Lock()
	defer p.wmu.Unlock()
	_ = p.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	return wire.WriteFrame(p.conn, typ, body)
}

func (p *asked) run() error {
	_ = p.conn.SetDeadline(time.Now().Add(openTimeout))
	if err := wire.ReadPreface(p.conn, tag()); err != nil {
		return err
	}
	if err := wire.WritePreface(p.conn, tag()); err != nil {
		return err
	}
	select {
	case p.s.slots <- struct{}{}:
		defer func() { <-p.s.slots }()
	default:
		return &redoubt.Error{Op: "compare", Err: fmt.Errorf("%d comparisons are under way: %w", maxClients, redoubt.ErrUnavailable), Hint: "it is tried again by itself"}
	}
	ctx, end := context.WithCancel(p.ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	wg.Go(func() { keepAlive(ctx, p.write) })
	r := wire.Reader{R: wire.IdleReader{Conn: p.conn, Timeout: silence, Done: p.ctx.Done()}, Max: maxQuestion}
	for {
		typ, b, err := r.Next()
		if err == nil && typ != frameAlive {
			typ, b, err = p.answer(typ, b)
			if err == nil {
				err = p.write(typ, b)
			}
		}
		if err != nil {
			return err
		}
	}
}

// keepAlive says now and then that this side lives, until ctx ends.
func keepAlive(ctx context.Context, write func(uint8, []byte) error) {
	t := time.NewTicker(aliveEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			if write(frameAlive, nil) != nil {
				return
			}
		case <-ctx.Done():
			return
		}
	}
}

func (p *asked) answer(typ uint8, b []byte) (uint8, []byte, error) {
	switch typ {
	case frameOpen:
		a, err := decodeJSON[Ask](b)
		if err == nil {
			b, err = p.open(a)
		}
		return frameOpened, b, err
	case frameSums:
		q, err := decodeSums(b)
		if err == nil {
			b, err = p.sums(q)
		}
		return frameRuns, b, err
	case frameDetail:
		slot, d, ws, err := decodeWants(b)
		if err == nil {
			b, err = p.detail(slot, d, ws)
		}
		return frameDetailed, b, err
	case frameReport:
		r, err := decodeJSON[Record](b)
		if err == nil {
			err = p.s.store.Note(p.ctx, p.peer, p.group, r)
		}
		return frameNoted, nil, err
	}
	return 0, nil, badFrame("unexpected type %d", typ)
}
