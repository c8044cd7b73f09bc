package rpc

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// MaxBody is the largest body of a request or an answer, in bytes.
const MaxBody = 64 << 20

const maxMethod = 64

// Frame types. Every body begins with the call's id (u64, little-endian; 0 in
// pings); numbers are never used again.
const (
	frameRequest uint8 = 1 // id, timeout in ns (u64, 0 = none), method length (u8), method, body
	frameAnswer  uint8 = 2 // id, body
	frameError   uint8 = 3 // id, wire.EncodeError
	frameCancel  uint8 = 4 // id
	framePing    uint8 = 5 // id 0
	framePong    uint8 = 6 // id 0
)

const idLen = 8

func tag() wire.Tag { return wire.Tag{'C', 'A', 'L', 'L'} }

// maxFrame leaves room for the heads above.
const maxFrame = MaxBody + 128

func requestHead(id uint64, timeout time.Duration, method string) []byte {
	b := make([]byte, 0, idLen+8+1+len(method))
	b = binary.LittleEndian.AppendUint64(b, id)
	b = binary.LittleEndian.AppendUint64(b, uint64(timeout))
	b = append(b, byte(len(method)))
	return append(b, method...)
}

type request struct {
	id      uint64
	timeout time.Duration
	method  string
	body    []byte
	frame   []byte // memory that body is a part of
}

func parseRequest(b []byte) (request, error) {
	bad := func(what string) (request, error) {
		return request{}, &redoubt.Error{Op: "read request", Err: fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt)}
	}
	if len(b) < idLen+9 {
		return bad("too short")
	}
	r := request{id: binary.LittleEndian.Uint64(b), timeout: time.Duration(binary.LittleEndian.Uint64(b[8:]))}
	n := int(b[16])
	if r.timeout < 0 {
		return bad("negative timeout")
	}
	if n == 0 || n > maxMethod || len(b) < 17+n {
		return bad("method")
	}
	r.method, r.body, r.frame = string(b[17:17+n]), b[17+n:], b
	return r, nil
}

func idFrame(id uint64) []byte { return binary.LittleEndian.AppendUint64(nil, id) }

func splitID(b []byte) (uint64, []byte, error) {
	if len(b) < idLen {
		return 0, nil, &redoubt.Error{Op: "read frame", Err: fmt.Errorf("no call id: %w", redoubt.ErrCorrupt)}
	}
	return binary.LittleEndian.Uint64(b), b[idLen:], nil
}
