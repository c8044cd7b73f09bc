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

// step is what follows the answer to an option.
type step int

const (
	more    step = iota // options
	begin               // transmission
	upgrade             // TLS
	leave               // the end
)

// handshake negotiates until transmission begins (nil), or fails.
func (c *conn) handshake() error {
	c.raw.SetDeadline(time.Now().Add(c.srv.o.HandshakeTimeout))
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
		out, next, err := c.option(id, data, noZeroes)
		if len(out) > 0 {
			if _, werr := c.nc.Write(out); werr != nil {
				return werr
			}
		}
		if err != nil {
			return err
		}
		switch next {
		case leave:
			return errLeft
		case begin:
			return c.raw.SetDeadline(time.Time{})
		case upgrade:
			if err := c.startTLS(); err != nil {
				return err
			}
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

// option answers one option. An error ends the connection, after the answer.
func (c *conn) option(id uint32, data []byte, noZeroes bool) (out []byte, next step, err error) {
	ack := func(parts ...[]byte) []byte {
		return append(slices.Concat(parts...), reply(id, protocol.NEGOTIATION_TYPE_REPLY_ACK)...)
	}
	invalid := reply(id, repErrInvalid)
	if c.tooEarly(id) {
		if id == optExportName { // has no error reply
			return nil, leave, &redoubt.Error{Op: "choose export", Hint: "use nbds:// and a client certificate", Err: fmt.Errorf("without TLS: %w", redoubt.ErrDenied)}
		}
		return reply(id, repErrTLS, []byte("TLS first: use STARTTLS, nbds://")), more, nil
	}
	switch id {
	case optExportName:
		if err := c.choose(string(data), true); err != nil {
			return nil, leave, err
		}
		out = binary.BigEndian.AppendUint64(nil, c.export.Volume.Disk().Size)
		out = binary.BigEndian.AppendUint16(out, c.flags())
		if !noZeroes {
			out = append(out, make([]byte, 124)...)
		}
		return out, begin, nil
	case protocol.NEGOTIATION_ID_OPTION_ABORT:
		return ack(), leave, nil
	case optStartTLS:
		typ := c.mayStartTLS(data)
		if typ == protocol.NEGOTIATION_TYPE_REPLY_ACK {
			next = upgrade
		}
		return reply(id, typ), next, nil
	case protocol.NEGOTIATION_ID_OPTION_LIST:
		if len(data) != 0 {
			return invalid, more, nil
		}
		for _, e := range c.srv.Exports() {
			if c.authorise(e.Name) != nil {
				continue
			}
			name := binary.BigEndian.AppendUint32(nil, uint32(len(e.Name)))
			out = append(out, reply(id, protocol.NEGOTIATION_TYPE_REPLY_SERVER, name, []byte(e.Name), []byte(e.Description))...)
		}
		return ack(out), more, nil
	case protocol.NEGOTIATION_ID_OPTION_INFO, protocol.NEGOTIATION_ID_OPTION_GO:
		o, err := parseInfo(data)
		if err != nil {
			return invalid, more, nil
		}
		if id == protocol.NEGOTIATION_ID_OPTION_GO {
			next = begin
		}
		if err := c.choose(o.name, next == begin); err != nil {
			return c.refuseOption(id, err), more, nil
		}
		if c.metaName != nil && *c.metaName != c.export.Name {
			c.allocation = false // contexts belong to the export they were set for
		}
		return ack(infoReplies(id, c, o.wants)), next, nil
	case optStructured:
		if len(data) != 0 {
			return invalid, more, nil
		}
		c.structured = true
		return ack(), more, nil
	case optListMeta, optSetMeta:
		return c.metaContext(id, data), more, nil
	}
	return reply(id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED), more, nil
}

// choose makes the connection use an export, if the client may; to use it for
// transmission the connection must be admitted, too.
func (c *conn) choose(name string, transmission bool) error {
	err := c.srv.choose(c, name)
	if err == nil && transmission {
		err = c.srv.admit(c)
	}
	if err != nil && !errors.Is(err, redoubt.ErrNotFound) {
		c.complain("NBD client refused", "export", name, "err", err, "hint", redoubt.Hint(err))
	}
	return err
}

// refuseOption is the reply that fits an error of choose.
func (c *conn) refuseOption(id uint32, err error) []byte {
	if errors.Is(err, redoubt.ErrNotFound) {
		return reply(id, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN, []byte("no such export"))
	}
	return reply(id, repErrPolicy, []byte(err.Error())[:min(len(err.Error()), maxString)])
}

func (c *conn) metaContext(id uint32, data []byte) []byte {
	if id == optSetMeta { // whatever comes of it, what was set before is gone
		c.allocation = false
	}
	o, err := parseMeta(data)
	if err != nil || !c.structured {
		return reply(id, repErrInvalid)
	}
	if err := c.choose(o.name, false); err != nil {
		return c.refuseOption(id, err)
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
	return append(out, reply(id, protocol.NEGOTIATION_TYPE_REPLY_ACK)...)
}

// flags returns the transmission flags of the export.
func (c *conn) flags() uint16 {
	f := protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS | flagFlush | flagFUA | flagTrim | flagWriteZeroes | flagCache | flagFastZero | flagMultiConn
	if c.structured {
		f |= flagDF
	}
	if c.export.ReadOnly || c.export.Volume.Group().ReadOnly() != nil {
		f |= flagReadOnly
	}
	return f
}
