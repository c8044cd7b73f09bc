package blockdev

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
)

// errLeft means that the client ended the handshake in an orderly way.
var errLeft = errors.New("client left")

// contextAllocation is the one meta context that is served; its id is 1.
const (
	contextAllocation   = "base:allocation"
	contextAllocationID = uint32(1)
)

// handshake negotiates until transmission begins (nil), or fails.
func (c *conn) handshake() error {
	c.nc.SetDeadline(time.Now().Add(c.srv.o.HandshakeTimeout))
	hello, _ := binary.Append(nil, binary.BigEndian, protocol.NegotiationNewstyleHeader{
		OldstyleMagic: protocol.NEGOTIATION_MAGIC_OLDSTYLE, OptionMagic: protocol.NEGOTIATION_MAGIC_OPTION,
		HandshakeFlags: protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE | handshakeNoZeroes})
	if _, err := c.nc.Write(hello); err != nil {
		return err
	}
	var flags uint32
	if err := binary.Read(c.nc, binary.BigEndian, &flags); err != nil {
		return err
	}
	known := uint32(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE | handshakeNoZeroes)
	if flags&^known != 0 {
		return fmt.Errorf("unknown client flags %#x: %w", flags, redoubt.ErrInvalid)
	}
	noZeroes := flags&uint32(handshakeNoZeroes) != 0
	for range maxOptions {
		id, data, err := c.readOption()
		if err != nil {
			return err
		}
		if data == nil { // skipped
			if _, err := c.nc.Write(reply(id, repErrTooBig)); err != nil {
				return err
			}
			continue
		}
		out, begin := c.option(id, data, noZeroes)
		if len(out) > 0 {
			if _, err := c.nc.Write(out); err != nil {
				return err
			}
		}
		switch {
		case id == protocol.NEGOTIATION_ID_OPTION_ABORT:
			return errLeft
		case begin:
			return c.nc.SetDeadline(time.Time{})
		case id == optExportName: // has no error reply
			return fmt.Errorf("no such export %.64q: %w", data, redoubt.ErrNotFound)
		}
	}
	return fmt.Errorf("more than %d options: %w", maxOptions, redoubt.ErrInvalid)
}

// readOption returns the next option; data is nil if it was too long and skipped.
func (c *conn) readOption() (id uint32, data []byte, err error) {
	var h protocol.NegotiationOptionHeader
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		return 0, nil, err
	}
	switch {
	case h.OptionMagic != protocol.NEGOTIATION_MAGIC_OPTION:
		return 0, nil, fmt.Errorf("option has magic %#x: %w", h.OptionMagic, redoubt.ErrInvalid)
	case h.Length > maxSkip:
		return 0, nil, fmt.Errorf("option of %d bytes: %w", h.Length, redoubt.ErrInvalid)
	case h.Length > maxOption:
		_, err := io.CopyN(io.Discard, c.nc, int64(h.Length))
		return h.ID, nil, err
	}
	data = make([]byte, h.Length)
	_, err = io.ReadFull(c.nc, data)
	return h.ID, data, err
}

// option answers one option; begin says that transmission follows the answer.
func (c *conn) option(id uint32, data []byte, noZeroes bool) (out []byte, begin bool) {
	ack := func(parts ...[]byte) []byte {
		return append(slices.Concat(parts...), reply(id, protocol.NEGOTIATION_TYPE_REPLY_ACK)...)
	}
	invalid := reply(id, repErrInvalid)
	switch id {
	case optExportName:
		if !c.srv.choose(c, string(data)) {
			return nil, false
		}
		out = binary.BigEndian.AppendUint64(nil, c.export.Volume.Disk().Size)
		out = binary.BigEndian.AppendUint16(out, c.flags())
		if !noZeroes {
			out = append(out, make([]byte, 124)...)
		}
		return out, true
	case protocol.NEGOTIATION_ID_OPTION_ABORT:
		return ack(), false
	case protocol.NEGOTIATION_ID_OPTION_LIST:
		if len(data) != 0 {
			return invalid, false
		}
		for _, e := range c.srv.Exports() {
			name := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
			out = append(out, reply(id, protocol.NEGOTIATION_TYPE_REPLY_SERVER, name, []byte(e.Name), []byte(e.Description))...)
		}
		return ack(out), false
	case protocol.NEGOTIATION_ID_OPTION_INFO, protocol.NEGOTIATION_ID_OPTION_GO:
		o, err := parseInfo(data)
		if err != nil {
			return invalid, false
		}
		if !c.srv.choose(c, o.name) {
			return reply(id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, []byte("no such export")), false
		}
		if c.metaName != nil && *c.metaName != c.export.Name {
			c.allocation = false // contexts belong to the export they were set for
		}
		return ack(infoReplies(id, c, o.wants)), id == protocol.NEGOTIATION_ID_OPTION_GO
	case optStructured:
		if len(data) != 0 {
			return invalid, false
		}
		c.structured = true
		return ack(), false
	case optListMeta, optSetMeta:
		return c.metaContext(id, data)
	}
	return reply(id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED), false
}

func (c *conn) metaContext(id uint32, data []byte) ([]byte, bool) {
	if id == optSetMeta { // whatever comes of it, what was set before is gone
		c.allocation = false
	}
	o, err := parseMeta(data)
	if err != nil || !c.structured {
		return reply(id, repErrInvalid), false
	}
	if !c.srv.choose(c, o.name) {
		return reply(id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, []byte("no such export")), false
	}
	all := id == optListMeta && len(o.queries) == 0
	for _, q := range o.queries {
		if q == contextAllocation || id == optListMeta && strings.HasPrefix(contextAllocation, q) && strings.HasSuffix(q, ":") {
			all = true
		}
	}
	var out []byte
	if all {
		var cid uint32
		if id == optSetMeta {
			cid = contextAllocationID
		}
		out = reply(id, repMeta, binary.BigEndian.AppendUint32(nil, cid), []byte(contextAllocation))
	}
	if id == optSetMeta {
		name := c.export.Name
		c.allocation, c.metaName = all, &name
	}
	return append(out, reply(id, protocol.NEGOTIATION_TYPE_REPLY_ACK)...), false
}

// flags returns the transmission flags of the export.
func (c *conn) flags() uint16 {
	f := protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS | flagFlush | flagFUA | flagTrim | flagWriteZeroes | flagFastZero | flagMultiConn
	if c.structured {
		f |= flagDF
	}
	if c.export.ReadOnly || c.export.Volume.Group().ReadOnly() != nil {
		f |= flagReadOnly
	}
	return f
}
