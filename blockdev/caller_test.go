package blockdev

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// call is a request as a client makes it.
type call struct {
	flags, typ uint16
	off        uint64
	len        uint32
	payload    []byte
}

// answered is the answer to a call: data of a READ, extents of a BLOCK_STATUS.
type answered struct {
	cookie  uint64
	errno   uint32
	data    []byte
	extents []extent
	covered uint64 // bytes of data that chunks have brought
}

// extent is a descriptor of base:allocation.
type extent struct{ len, state uint32 }

// caller is a client that gives errors back, for tests in which connections are
// cut: any number of requests in flight, simple or structured replies.
type caller struct {
	nc         net.Conn
	structured bool
	cookie     uint64
	waits      map[uint64]call
	parts      map[uint64]*answered // begun; chunks of several answers may mix
}

func newCaller(sock, export string, structured bool) (*caller, error) {
	nc, err := net.Dial("unix", sock)
	if err != nil {
		return nil, err
	}
	c := &caller{nc: nc, structured: structured, waits: map[uint64]call{}, parts: map[uint64]*answered{}}
	if err := c.shake(export); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

func (c *caller) shake(export string) error {
	if !c.structured {
		_, err := negotiate(c.nc, export)
		return err
	}
	var h protocol.NegotiationNewstyleHeader
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		return err
	}
	if _, err := c.nc.Write(binary.BigEndian.AppendUint32(nil, 3)); err != nil {
		return err
	}
	meta := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	meta = binary.BigEndian.AppendUint32(append(meta, export...), 1)
	meta = binary.BigEndian.AppendUint32(meta, uint32(len(contextAllocation)))
	meta = append(meta, contextAllocation...)
	for _, o := range []struct {
		id   uint32
		data []byte
	}{{optStructured, nil}, {optSetMeta, meta}, {protocol.NEGOTIATION_ID_OPTION_GO, goData(export)}} {
		if typ, _, err := ask(c.nc, o.id, o.data); err != nil || typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
			return fmt.Errorf("option %d: %#x, %w", o.id, typ, err)
		}
	}
	return nil
}

// post sends requests with one write and returns their cookies.
func (c *caller) post(calls ...call) ([]uint64, error) {
	var out []byte
	var cookies []uint64
	for _, r := range calls {
		c.cookie++
		c.waits[c.cookie] = r
		cookies = append(cookies, c.cookie)
		out = append(append(out, header(r.flags, r.typ, c.cookie, r.off, r.len)...), r.payload...)
	}
	_, err := c.nc.Write(out)
	return cookies, err
}

// next reads up to the end of an answer.
func (c *caller) next() (answered, error) {
	for {
		var magic uint32
		if err := binary.Read(c.nc, binary.BigEndian, &magic); err != nil {
			return answered{}, err
		}
		if magic == protocol.TRANSMISSION_MAGIC_REPLY {
			return c.simple()
		}
		if magic != magicStructured {
			return answered{}, fmt.Errorf("answer with magic %#x", magic)
		}
		a, err := c.chunk()
		if err != nil {
			return answered{}, err
		}
		if a != nil {
			return *a, nil
		}
	}
}

// chunk reads one chunk; it returns the answer if that is the last of it.
func (c *caller) chunk() (*answered, error) {
	var h struct {
		Flags, Type uint16
		Cookie      uint64
		Length      uint32
	}
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		return nil, err
	}
	r, ok := c.waits[h.Cookie]
	if !ok {
		return nil, fmt.Errorf("chunk %+v that answers nothing", h)
	}
	body := make([]byte, h.Length)
	if _, err := io.ReadFull(c.nc, body); err != nil {
		return nil, err
	}
	a := c.parts[h.Cookie]
	if a == nil {
		a = &answered{cookie: h.Cookie}
		c.parts[h.Cookie] = a
	}
	switch {
	case h.Type == chunkError:
		a.errno = binary.BigEndian.Uint32(body)
	case h.Type == chunkNone && len(body) == 0:
	case h.Type == chunkOffsetData && r.typ == cmdRead && len(body) > 8:
		if a.data == nil {
			a.data = make([]byte, r.len)
		}
		at := binary.BigEndian.Uint64(body) - r.off
		if at+uint64(len(body)-8) > uint64(r.len) || r.flags&cmdFlagDF != 0 && len(body)-8 != int(r.len) {
			return nil, fmt.Errorf("chunk at %d of %d bytes for %+v", at, len(body)-8, r)
		}
		a.covered += uint64(copy(a.data[at:], body[8:]))
	case h.Type == chunkStatus && r.typ == cmdBlockStatus:
		for b := body[4:]; len(b) > 0; b = b[8:] {
			a.extents = append(a.extents, extent{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])})
		}
	default:
		return nil, fmt.Errorf("chunk %+v for command %d", h, r.typ)
	}
	if h.Flags&chunkDone == 0 {
		return nil, nil
	}
	delete(c.waits, h.Cookie)
	delete(c.parts, h.Cookie)
	if r.typ == cmdRead && a.errno == 0 && a.covered != uint64(r.len) {
		return nil, fmt.Errorf("%d bytes for %d", a.covered, r.len)
	}
	return a, nil
}

func (c *caller) simple() (answered, error) {
	var h struct {
		Error  uint32
		Cookie uint64
	}
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		return answered{}, err
	}
	r, ok := c.waits[h.Cookie]
	if !ok || c.structured && r.typ == cmdRead {
		return answered{}, fmt.Errorf("simple answer to %d", h.Cookie)
	}
	delete(c.waits, h.Cookie)
	a := answered{cookie: h.Cookie, errno: h.Error}
	if h.Error == 0 && r.typ == cmdRead {
		a.data = make([]byte, r.len)
		if _, err := io.ReadFull(c.nc, a.data); err != nil {
			return answered{}, err
		}
	}
	return a, nil
}

// do sends one request and returns its answer.
func (c *caller) do(r call) (answered, error) {
	if _, err := c.post(r); err != nil {
		return answered{}, err
	}
	return c.next()
}
