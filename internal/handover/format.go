package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/redoubt-dr/redoubt"
)

// The state, little-endian. The i-th socket of the body is the i-th descriptor
// that goes with it.
//
//	head     +----------+---------+-------------+-------------+
//	16 bytes | "RDHAND" | version | body length | CRC32C of   |  then the body
//	         |          |   u16   |     u32     | the body u32|
//	         +----------+---------+-------------+-------------+
//	body     +-----------+-----------+-----------+-------+
//	         | listeners | listener* | conns u32 | conn* |
//	         |    u32    |  string   |           |       |
//	         +-----------+-----------+-----------+-------+
//	conn     +-------+-----+-------+--------+------+-------------+------+-------+
//	         | flags | size| group | export | disk | part write, | left | bytes |
//	         |  u8   | u64 |     strings           | if flagged  | u32  |       |
//	         +-------+-----+-------+--------+------+-------------+------+-------+
//	part     +--------+-------+-----+------+
//	write    | cookie | errno | off | left |
//	28 bytes |  u64   |  u32  | u64 | u64  |
//	         +--------+-------+-----+------+
//	string   length u16, bytes
const (
	magic   = "RDHAND"
	version = 1
	headLen = 16

	flagStructured = 1 << 0
	flagAllocation = 1 << 1
	flagWrite      = 1 << 2
	flagFUA        = 1 << 3 // of the part write
	knownFlags     = flagStructured | flagAllocation | flagWrite | flagFUA

	maxString = 8 << 10
	maxCount  = 8 << 10 // of listeners, and of connections

	// MaxLeft bounds the bytes that a connection has received and not understood.
	MaxLeft = 512 << 10
	// maxState bounds the whole.
	maxState = 256 << 20
)

var errMalformed = errors.New("malformed body")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encode returns the state without its descriptors.
func (s *State) encode() ([]byte, error) {
	if len(s.Listeners) > maxCount || len(s.Conns) > maxCount {
		return nil, tooBig("sockets")
	}
	b := make([]byte, headLen)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Listeners)))
	for _, l := range s.Listeners {
		b = appendString(b, l.Key)
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(len(s.Conns)))
	for i := range s.Conns {
		c := &s.Conns[i]
		if len(c.Left) > MaxLeft || max(len(c.Group), len(c.Export), len(c.Disk)) > maxString {
			return nil, tooBig("connection to " + c.Export)
		}
		b = c.append(b)
	}
	if len(b) > maxState {
		return nil, tooBig("state")
	}
	copy(b, magic)
	binary.LittleEndian.PutUint16(b[6:], version)
	binary.LittleEndian.PutUint32(b[8:], uint32(len(b)-headLen))
	binary.LittleEndian.PutUint32(b[12:], crc32.Checksum(b[headLen:], castagnoli))
	return b, nil
}

func tooBig(what string) error {
	return &redoubt.Error{Op: "hand over", Object: what, Err: fmt.Errorf("too much for the format: %w", redoubt.ErrInvalid)}
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint16(b, uint16(len(s))), s...)
}

func (c *Conn) append(b []byte) []byte {
	var flags byte
	if c.Structured {
		flags |= flagStructured
	}
	if c.Allocation {
		flags |= flagAllocation
	}
	if c.Write != nil {
		flags |= flagWrite
		if c.Write.FUA {
			flags |= flagFUA
		}
	}
	b = binary.LittleEndian.AppendUint64(append(b, flags), c.Size)
	b = appendString(appendString(appendString(b, c.Group), c.Export), c.Disk)
	if w := c.Write; w != nil {
		b = binary.LittleEndian.AppendUint64(b, w.Cookie)
		b = binary.LittleEndian.AppendUint32(b, w.Errno)
		b = binary.LittleEndian.AppendUint64(b, w.Off)
		b = binary.LittleEndian.AppendUint64(b, w.Left)
	}
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(c.Left))), c.Left...)
}

// decode is the inverse of encode; the State keeps parts of b. All descriptors
// are -1. It gives redoubt.ErrVersion for a newer state and redoubt.ErrCorrupt
// for anything else that it does not understand.
func decode(b []byte) (*State, error) {
	fail := func(err error, hint string) (*State, error) {
		return nil, &redoubt.Error{Op: "take over", Hint: hint, Err: err}
	}
	if len(b) < headLen || string(b[:6]) != magic {
		return fail(fmt.Errorf("not a state: %w", redoubt.ErrCorrupt), "")
	}
	v, n, sum := binary.LittleEndian.Uint16(b[6:]), binary.LittleEndian.Uint32(b[8:]), binary.LittleEndian.Uint32(b[12:])
	body := b[headLen:]
	switch {
	case v > version:
		return fail(fmt.Errorf("state of version %d, this program knows %d: %w", v, version, redoubt.ErrVersion), "clients connect again; start the newer redoubtd to avoid that")
	case v != version || uint64(n) != uint64(len(body)) || len(b) > maxState:
		return fail(fmt.Errorf("version %d, %d of %d bytes: %w", v, len(body), n, redoubt.ErrCorrupt), "")
	case crc32.Checksum(body, castagnoli) != sum:
		return fail(fmt.Errorf("checksum differs: %w", redoubt.ErrCorrupt), "")
	}
	s, err := decodeBody(&reader{b: body})
	if err != nil {
		return fail(fmt.Errorf("%w: %w", redoubt.ErrCorrupt, err), "")
	}
	return s, nil
}

func decodeBody(r *reader) (*State, error) {
	s := &State{}
	n := r.count()
	for range n {
		s.Listeners = append(s.Listeners, Listener{Key: r.str(), FD: -1})
		if r.bad {
			break
		}
	}
	n = r.count()
	for range n {
		s.Conns = append(s.Conns, r.conn())
		if r.bad {
			break
		}
	}
	if r.bad || len(r.b) != 0 {
		return nil, errMalformed
	}
	return s, nil
}

// reader cuts values off b; bad once there were too few bytes, or too many.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return make([]byte, min(n, 8))
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *reader) u32() uint32 { return binary.LittleEndian.Uint32(r.take(4)) }
func (r *reader) u64() uint64 { return binary.LittleEndian.Uint64(r.take(8)) }

func (r *reader) count() uint32 {
	n := r.u32()
	if r.bad || n > maxCount {
		r.bad = true
		return 0
	}
	return n
}

func (r *reader) str() string {
	n := int(binary.LittleEndian.Uint16(r.take(2)))
	if n > maxString {
		r.bad = true
	}
	if r.bad {
		return ""
	}
	return string(r.take(n))
}

func (r *reader) conn() Conn {
	flags := r.take(1)[0]
	c := Conn{FD: -1, Structured: flags&flagStructured != 0, Allocation: flags&flagAllocation != 0,
		Size: r.u64(), Group: r.str(), Export: r.str(), Disk: r.str()}
	if flags&^knownFlags != 0 || flags&flagFUA != 0 && flags&flagWrite == 0 {
		r.bad = true
	}
	if flags&flagWrite != 0 {
		c.Write = &PartWrite{FUA: flags&flagFUA != 0, Cookie: r.u64(), Errno: r.u32(), Off: r.u64(), Left: r.u64()}
	}
	n := r.u32()
	if n > MaxLeft {
		r.bad = true
	}
	if n > 0 && !r.bad {
		c.Left = r.take(int(n))
	}
	return c
}
