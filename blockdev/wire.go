package blockdev

import (
	"encoding/binary"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// The NBD protocol, https://github.com/NetworkBlockDevice/nbd/blob/master/doc/proto.md.
// Constants that go-nbd has are used from there; these are the ones it lacks.
// All integers are big-endian.
//
//	request    +-------+-------+------+----------------+----------------+-------+
//	28 bytes   | magic | flags | type |     cookie     |     offset     | length|
//	           |  u32  |  u16  | u16  |      u64       |      u64       |  u32  |
//	           +-------+-------+------+----------------+----------------+-------+
//	simple     +-------+-------+----------------+
//	reply      | magic | error |     cookie     |  then data, for a READ without error
//	16 bytes   |  u32  |  u32  |      u64       |
//	           +-------+-------+----------------+
//	structured +-------+-------+------+----------------+-------+
//	reply chunk| magic | flags | type |     cookie     | length|  then length bytes
//	20 bytes   |  u32  |  u16  | u16  |      u64       |  u32  |
//	           +-------+-------+------+----------------+-------+
const (
	requestLen    = 28
	simpleLen     = 16
	structuredLen = 20

	magicStructured = uint32(0x668e33ef)

	handshakeNoZeroes = uint16(1 << 1) // server and client: no 124 zeros after EXPORT_NAME

	optExportName = uint32(1)
	optStartTLS   = uint32(5)
	optStructured = uint32(8)
	optListMeta   = uint32(9)
	optSetMeta    = uint32(10)

	repMeta       = uint32(4)
	repErrPolicy  = uint32(2 | 1<<31)
	repErrInvalid = uint32(3 | 1<<31)
	repErrTLS     = uint32(5 | 1<<31) // TLS first
	repErrTooBig  = uint32(9 | 1<<31)

	flagReadOnly    = uint16(1 << 1)
	flagFlush       = uint16(1 << 2)
	flagFUA         = uint16(1 << 3)
	flagTrim        = uint16(1 << 5)
	flagWriteZeroes = uint16(1 << 6)
	flagDF          = uint16(1 << 7)
	flagMultiConn   = protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN
	flagCache       = uint16(1 << 10)
	flagFastZero    = uint16(1 << 11)

	cmdRead        = protocol.TRANSMISSION_TYPE_REQUEST_READ
	cmdWrite       = protocol.TRANSMISSION_TYPE_REQUEST_WRITE
	cmdDisc        = protocol.TRANSMISSION_TYPE_REQUEST_DISC
	cmdFlush       = uint16(3)
	cmdTrim        = uint16(4)
	cmdCache       = uint16(5)
	cmdWriteZeroes = uint16(6)
	cmdBlockStatus = uint16(7)

	cmdFlagFUA      = uint16(1 << 0)
	cmdFlagNoHole   = uint16(1 << 1)
	cmdFlagDF       = uint16(1 << 2)
	cmdFlagReqOne   = uint16(1 << 3)
	cmdFlagFastZero = uint16(1 << 4)

	chunkDone       = uint16(1 << 0) // flag: last chunk of a reply
	chunkNone       = uint16(0)
	chunkOffsetData = uint16(1)
	chunkStatus     = uint16(5)
	chunkError      = uint16(1<<15 | 1)

	stateHole = uint32(1 << 0)
	stateZero = uint32(1 << 1)

	errPerm     = protocol.TRANSMISSION_ERROR_EPERM
	errIO       = uint32(5)
	errNoMem    = uint32(12)
	errInval    = protocol.TRANSMISSION_ERROR_EINVAL
	errNoSpace  = uint32(28)
	errOverflow = uint32(75)
	errShutdown = uint32(108)
)

// MaxPayload is the longest READ and WRITE that is served, in bytes.
const MaxPayload = 32 << 20

// request is the header of an NBD request.
type request struct {
	flags  uint16
	typ    uint16
	cookie uint64
	off    uint64
	len    uint32
	at     int64 // when it came, of the group's clock
}

// parseRequest reads a request header from the first requestLen bytes of b. It
// reports false if the magic is wrong; the stream cannot be followed then.
func parseRequest(b []byte) (request, bool) {
	_ = b[requestLen-1]
	return request{
		flags:  binary.BigEndian.Uint16(b[4:]),
		typ:    binary.BigEndian.Uint16(b[6:]),
		cookie: binary.BigEndian.Uint64(b[8:]),
		off:    binary.BigEndian.Uint64(b[16:]),
		len:    binary.BigEndian.Uint32(b[24:]),
	}, binary.BigEndian.Uint32(b) == protocol.TRANSMISSION_MAGIC_REQUEST
}

func appendSimple(b []byte, cookie uint64, errno uint32) []byte {
	b = binary.BigEndian.AppendUint32(b, protocol.TRANSMISSION_MAGIC_REPLY)
	b = binary.BigEndian.AppendUint32(b, errno)
	return binary.BigEndian.AppendUint64(b, cookie)
}

func appendChunk(b []byte, flags, typ uint16, cookie uint64, length int) []byte {
	b = binary.BigEndian.AppendUint32(b, magicStructured)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint64(b, cookie)
	return binary.BigEndian.AppendUint32(b, uint32(length))
}
