package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// Client asks one server. Questions are asked and answers taken by one
// goroutine, in order; several may be under way.
type Client struct {
	conn net.Conn
	r    wire.Reader
	zero Sum
	end  context.CancelFunc
	stop func() bool
	wg   sync.WaitGroup
	wmu  sync.Mutex

	hashBytes uint64 // of answers so far
}

// NewClient begins to speak on conn, which it owns from now on, also when it
// fails. The end of ctx ends the connection.
func NewClient(ctx context.Context, conn net.Conn) (*Client, error) {
	ctx, end := context.WithCancel(ctx)
	c := &Client{conn: conn, end: end, zero: newHasher().zero.Sum}
	c.r = wire.Reader{R: wire.IdleReader{Conn: conn, Timeout: silence, Done: ctx.Done()}, Max: maxAnswer}
	c.stop = context.AfterFunc(ctx, func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(openTimeout))
	err := wire.WritePreface(conn, tag())
	if err == nil {
		err = wire.ReadPreface(conn, tag())
	}
	if err != nil {
		c.Close()
		return nil, c.lost(err)
	}
	_ = conn.SetDeadline(time.Time{})
	c.wg.Go(func() { keepAlive(ctx, c.write) })
	return c, nil
}

// Close ends the connection.
func (c *Client) Close() {
	c.end()
	c.stop()
	c.conn.Close()
	c.wg.Wait()
}

func (c *Client) lost(err error) error {
	return &redoubt.Error{Op: "compare with", Object: c.conn.RemoteAddr().String(), Err: fmt.Errorf("%w: %w", redoubt.ErrUnavailable, err)}
}

func (c *Client) write(typ uint8, body []byte) error {
	c.wmu.Lock()
	defer c.wmu.Unlock()
	_ = c.conn.SetWriteDeadline(time.Now().Add(writeTimeout))
	if err := wire.WriteFrame(c.conn, typ, body); err != nil {
		return c.lost(err)
	}
	return nil
}

// take returns the body of the next answer, which must be of type typ.
func (c *Client) take(want uint8) ([]byte, error) {
	for {
		typ, b, err := c.r.Next()
		switch {
		case err != nil:
			return nil, c.lost(err)
		case typ == frameAlive:
			continue
		case typ == frameError:
			return nil, wire.DecodeError("compare with", c.conn.RemoteAddr().String(), b)
		case typ != want:
			return nil, badFrame("type %d instead of %d", typ, want)
		}
		c.hashBytes += uint64(len(b)) + wire.HeaderLen
		return b, nil
	}
}

// Open opens a group's disks at a position, in place of what the slot had.
func (c *Client) Open(a Ask) (Opened, error) {
	b, err := json.Marshal(a)
	if err != nil {
		return Opened{}, err
	}
	if err := c.write(frameOpen, b); err != nil {
		return Opened{}, err
	}
	if b, err = c.take(frameOpened); err != nil {
		return Opened{}, err
	}
	return decodeJSON[Opened](b)
}

// AskSums asks for the sums of count chunks of a disk, at most WindowChunks.
func (c *Client) AskSums(slot int, d redoubt.DiskID, first uint64, count int) error {
	return c.write(frameSums, sumsAsked{uint8(slot), d, first, uint32(count)}.encode())
}

// TakeSums takes the answer to the oldest AskSums; out has as many places as
// were asked for.
func (c *Client) TakeSums(out []Sum) error {
	b, err := c.take(frameRuns)
	if err != nil {
		return err
	}
	return decodeRuns(b, c.zero, out)
}

// Differ returns which leaves of chunks differ from those of trees: the answer
// has as many elements. A chunk may be asked for only in part: leaves that are
// not in its mask do not count. At most WindowChunks.
func (c *Client) Differ(slot int, d redoubt.DiskID, cs []Suspect) ([]Mask, error) {
	out := make([]Mask, len(cs))
	nodes := make([]want, len(cs))
	for i := range cs {
		nodes[i] = want{chunk: cs[i].Chunk}
	}
	b, err := c.ask(slot, d, nodes)
	if err != nil {
		return nil, err
	}
	var leaves []want
	var of []int // their places in cs
	for i, s := range cs {
		w := want{chunk: s.Chunk}
		for n := range fanOut {
			var got short
			b = b[copy(got[:], b):]
			if got != s.Tree.nodes[n].short() && s.Mask.node(n) {
				w.nodes |= 1 << n
			}
		}
		if w.nodes != 0 {
			leaves, of = append(leaves, w), append(of, i)
		}
	}
	if len(leaves) == 0 {
		return out, nil
	}
	if b, err = c.ask(slot, d, leaves); err != nil {
		return nil, err
	}
	for k, w := range leaves {
		s := cs[of[k]]
		for n := range fanOut {
			if w.nodes&(1<<n) == 0 {
				continue
			}
			for l := n * fanOut; l < (n+1)*fanOut; l++ {
				var got short
				b = b[copy(got[:], b):]
				if got != s.Tree.leaves[l].short() && s.Mask.Has(l) {
					out[of[k]].Set(l)
				}
			}
		}
	}
	return out, nil
}

func (c *Client) ask(slot int, d redoubt.DiskID, ws []want) ([]byte, error) {
	if err := c.write(frameDetail, encodeWants(uint8(slot), d, ws)); err != nil {
		return nil, err
	}
	b, err := c.take(frameDetailed)
	if err != nil {
		return nil, err
	}
	n := 0
	for _, w := range ws {
		n += w.answerLen()
	}
	if len(b) != n {
		return nil, badFrame("%d bytes of sums instead of %d", len(b), n)
	}
	return b, nil
}

// Report tells the server what was found; it is stored on return. Of the extents
// only those are said that fit into a question.
func (c *Client) Report(r Record) error {
	b, err := r.encode(maxQuestion)
	if err != nil {
		return err
	}
	if err := c.write(frameReport, b); err != nil {
		return err
	}
	_, err = c.take(frameNoted)
	return err
}

// HashBytes is what answers have taken on the wire so far.
func (c *Client) HashBytes() uint64 { return c.hashBytes }
