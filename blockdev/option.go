package blockdev

import (
	"encoding/binary"
	"errors"
	"slices"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// What a client may say before it is known. Names have at most 64 characters
// here, but the protocol's limit for strings is accepted and then not found.
const (
	maxString  = 4096
	maxOption  = 16 << 10 // longer option data is skipped and answered with TOO_BIG
	maxSkip    = 1 << 20  // longer still: the connection is closed
	maxOptions = 128      // in one handshake
	maxQueries = 64       // in one META_CONTEXT option
)

var errBadOption = errors.New("malformed option")

// infoOption is the data of OPT_INFO and OPT_GO.
type infoOption struct {
	name  string
	wants []uint16
}

// parseInfo reads name length, name, number of information requests, requests.
func parseInfo(b []byte) (infoOption, error) {
	name, b, ok := cutString(b)
	if !ok || len(b) < 2 {
		return infoOption{}, errBadOption
	}
	n := int(binary.BigEndian.Uint16(b))
	if b = b[2:]; len(b) != 2*n {
		return infoOption{}, errBadOption
	}
	o := infoOption{name: name}
	for ; len(b) > 0; b = b[2:] {
		o.wants = append(o.wants, binary.BigEndian.Uint16(b))
	}
	return o, nil
}

// metaOption is the data of OPT_LIST_META_CONTEXT and OPT_SET_META_CONTEXT.
type metaOption struct {
	name    string
	queries []string
}

func parseMeta(b []byte) (metaOption, error) {
	name, b, ok := cutString(b)
	if !ok || len(b) < 4 {
		return metaOption{}, errBadOption
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > maxQueries {
		return metaOption{}, errBadOption
	}
	o := metaOption{name: name}
	for range n {
		var q string
		if q, b, ok = cutString(b); !ok {
			return metaOption{}, errBadOption
		}
		o.queries = append(o.queries, q)
	}
	if len(b) != 0 {
		return metaOption{}, errBadOption
	}
	return o, nil
}

// cutString reads a u32 length and that many bytes.
func cutString(b []byte) (string, []byte, bool) {
	if len(b) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(b)
	if b = b[4:]; n > maxString || uint64(n) > uint64(len(b)) {
		return "", nil, false
	}
	return string(b[:n]), b[n:], true
}

// reply is the reply to option id, as it goes over the wire.
func reply(id, typ uint32, data ...[]byte) []byte {
	var n int
	for _, d := range data {
		n += len(d)
	}
	b := make([]byte, 0, 20+n)
	b, _ = binary.Append(b, binary.BigEndian, protocol.NegotiationReplyHeader{
		ReplyMagic: protocol.NEGOTIATION_MAGIC_REPLY, ID: id, Type: typ, Length: uint32(n)})
	for _, d := range data {
		b = append(b, d...)
	}
	return b
}

// infoReplies returns the INFO replies that describe the export.
func infoReplies(id uint32, c *conn, wants []uint16) []byte {
	info := func(v any, tail string) []byte {
		b, _ := binary.Append(nil, binary.BigEndian, v)
		return reply(id, protocol.NEGOTIATION_TYPE_REPLY_INFO, b, []byte(tail))
	}
	out := info(protocol.NegotiationReplyInfo{Type: protocol.NEGOTIATION_TYPE_INFO_EXPORT,
		Size: c.export.Volume.Disk().Size, TransmissionFlags: c.flags()}, "")
	out = append(out, info(protocol.NegotiationReplyBlockSize{Type: protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE,
		MinimumBlockSize: 1, PreferredBlockSize: 4096, MaximumBlockSize: MaxPayload}, "")...)
	// Once each, however often the client asks: an option of 16 KiB may do so 8,000 times.
	if w := protocol.NEGOTIATION_TYPE_INFO_NAME; slices.Contains(wants, w) {
		out = append(out, info(protocol.NegotiationReplyNameHeader{Type: w}, c.export.Name)...)
	}
	if w := protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION; slices.Contains(wants, w) && c.export.Description != "" {
		out = append(out, info(protocol.NegotiationReplyNameHeader{Type: w}, c.export.Description)...)
	}
	return out
}
