package blockdev

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
)

// ReadFirst connects to the NBD export at a unix socket as any client does and
// reads its first sector: what it takes until a disk can be used. It returns
// the disk's size. ctx bounds all of it.
func ReadFirst(ctx context.Context, socket, export string) (size uint64, err error) {
	fail := func(err error) (uint64, error) {
		return 0, &redoubt.Error{Op: "read NBD export", Object: export, Err: err}
	}
	nc, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return fail(err)
	}
	defer func() { _ = nc.Close() }()
	defer context.AfterFunc(ctx, func() { _ = nc.Close() })()
	a, err := negotiate(nc, export)
	if err != nil {
		return fail(err)
	}
	const handle = 0x5ec70f
	req, _ := binary.Append(nil, binary.BigEndian, protocol.TransmissionRequestHeader{RequestMagic: protocol.TRANSMISSION_MAGIC_REQUEST,
		Type: protocol.TRANSMISSION_TYPE_REQUEST_READ, Handle: handle, Length: redoubt.SectorSize})
	if _, err := nc.Write(req); err != nil {
		return fail(err)
	}
	var h protocol.TransmissionReplyHeader
	if err := binary.Read(nc, binary.BigEndian, &h); err != nil {
		return fail(err)
	}
	if h.ReplyMagic != protocol.TRANSMISSION_MAGIC_REPLY || h.Handle != handle || h.Error != 0 {
		return fail(fmt.Errorf("answer %#x, error %d: %w", h.ReplyMagic, h.Error, redoubt.ErrUnavailable))
	}
	if _, err := io.CopyN(io.Discard, nc, redoubt.SectorSize); err != nil {
		return fail(err)
	}
	bye, _ := binary.Append(nil, binary.BigEndian, protocol.TransmissionRequestHeader{RequestMagic: protocol.TRANSMISSION_MAGIC_REQUEST, Type: protocol.TRANSMISSION_TYPE_REQUEST_DISC})
	_, _ = nc.Write(bye) // the answer has come: nothing depends on the farewell
	return a.size, nil
}
