package blockdev

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
)

// agreed is what a client learns in the handshake.
type agreed struct {
	size  uint64
	flags uint16
}

// negotiate is the client's side of the handshake, up to transmission: the
// kernel wants sockets on which it is over. Replies are simple, because the
// kernel knows no others.
func negotiate(nc net.Conn, export string) (agreed, error) {
	fail := func(err error) (agreed, error) {
		return agreed{}, &redoubt.Error{Op: "negotiate NBD export", Object: export, Err: err}
	}
	var hello protocol.NegotiationNewstyleHeader
	if err := binary.Read(nc, binary.BigEndian, &hello); err != nil {
		return fail(err)
	}
	if hello.OldstyleMagic != protocol.NEGOTIATION_MAGIC_OLDSTYLE || hello.OptionMagic != protocol.NEGOTIATION_MAGIC_OPTION ||
		hello.HandshakeFlags&protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE == 0 {
		return fail(fmt.Errorf("not an NBD server of the fixed newstyle kind: %w", redoubt.ErrInvalid))
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(hello.HandshakeFlags&(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|handshakeNoZeroes)))
	b, _ = binary.Append(b, binary.BigEndian, protocol.NegotiationOptionHeader{OptionMagic: protocol.NEGOTIATION_MAGIC_OPTION,
		ID: protocol.NEGOTIATION_ID_OPTION_GO, Length: uint32(4 + len(export) + 2)})
	b = binary.BigEndian.AppendUint32(b, uint32(len(export)))
	b = append(b, export...)
	b = binary.BigEndian.AppendUint16(b, 0)
	if _, err := nc.Write(b); err != nil {
		return fail(err)
	}
	var got agreed
	for {
		var h protocol.NegotiationReplyHeader
		if err := binary.Read(nc, binary.BigEndian, &h); err != nil {
			return fail(err)
		}
		if h.ReplyMagic != protocol.NEGOTIATION_MAGIC_REPLY || h.Length > maxOption {
			return fail(fmt.Errorf("bad reply: %w", redoubt.ErrInvalid))
		}
		data := make([]byte, h.Length)
		if _, err := io.ReadFull(nc, data); err != nil {
			return fail(err)
		}
		switch {
		case h.Type == protocol.NEGOTIATION_TYPE_REPLY_INFO:
			var info protocol.NegotiationReplyInfo
			if n, _ := binary.Decode(data, binary.BigEndian, &info); n > 0 && info.Type == protocol.NEGOTIATION_TYPE_INFO_EXPORT {
				got = agreed{size: info.Size, flags: info.TransmissionFlags}
			}
		case h.Type == protocol.NEGOTIATION_TYPE_REPLY_ACK && got.size > 0:
			return got, nil
		case h.Type == protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN:
			return fail(redoubt.ErrNotFound)
		default:
			return fail(fmt.Errorf("refused with %#x %.200q: %w", h.Type, data, redoubt.ErrInvalid))
		}
	}
}
