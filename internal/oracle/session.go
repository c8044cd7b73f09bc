package oracle

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
	"github.com/redoubt-dr/redoubt"
)

func now() int64 { return time.Now().UnixNano() }

// session is one client of a relay, with a connection of its own to the real
// export.
type session struct {
	relay *Relay
	up    Upstream
	conn  net.Conn
	r     *bufio.Reader
	c     *Client
	buf   []byte
}

func (s *session) serve() {
	s.r = bufio.NewReaderSize(s.conn, 64<<10)
	c, err := s.relay.dialUpstream(s.up)
	if err != nil {
		return
	}
	s.c = c
	defer c.Close()
	if err := s.handshake(); err != nil {
		return
	}
	for s.request() == nil {
	}
}

var errEnd = errors.New("end of session")

func (s *session) handshake() error {
	b := binary.BigEndian.AppendUint64(nil, protocol.NEGOTIATION_MAGIC_OLDSTYLE)
	b = binary.BigEndian.AppendUint64(b, protocol.NEGOTIATION_MAGIC_OPTION)
	b = binary.BigEndian.AppendUint16(b, protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE|serverNoZeroes)
	if _, err := s.conn.Write(b); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(s.r, flags[:]); err != nil {
		return err
	}
	noZeroes := binary.BigEndian.Uint32(flags[:])&clientNoZeroes != 0
	for {
		done, err := s.option(noZeroes)
		if done || err != nil {
			return err
		}
	}
}

// option answers one option; done means that transmission begins.
func (s *session) option(noZeroes bool) (done bool, err error) {
	var h [16]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return false, err
	}
	opt, n := binary.BigEndian.Uint32(h[8:]), binary.BigEndian.Uint32(h[12:])
	if binary.BigEndian.Uint64(h[:]) != protocol.NEGOTIATION_MAGIC_OPTION || n > maxOptionLen {
		return false, fmt.Errorf("bad option")
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(s.r, body); err != nil {
		return false, err
	}
	switch opt {
	case optExportName:
		b := binary.BigEndian.AppendUint64(nil, s.c.Size())
		b = binary.BigEndian.AppendUint16(b, s.flags())
		if !noZeroes {
			b = append(b, make([]byte, 124)...)
		}
		_, err := s.conn.Write(b)
		return true, err
	case protocol.NEGOTIATION_ID_OPTION_GO, protocol.NEGOTIATION_ID_OPTION_INFO:
		b := binary.BigEndian.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_EXPORT)
		b = binary.BigEndian.AppendUint64(b, s.c.Size())
		b = binary.BigEndian.AppendUint16(b, s.flags())
		if err := s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_INFO, b); err != nil {
			return false, err
		}
		err := s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_ACK, nil)
		return opt == protocol.NEGOTIATION_ID_OPTION_GO, err
	case protocol.NEGOTIATION_ID_OPTION_LIST:
		name := binary.BigEndian.AppendUint32(nil, uint32(len(s.up.Disk.Name)))
		if err := s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_SERVER, append(name, s.up.Disk.Name...)); err != nil {
			return false, err
		}
		return false, s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_ACK, nil)
	case protocol.NEGOTIATION_ID_OPTION_ABORT:
		s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_ACK, nil)
		return false, errEnd
	}
	return false, s.reply(opt, protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED, nil)
}

// flags are the upstream's, less what a relay cannot keep.
func (s *session) flags() uint16 {
	return s.c.Flags() & (FlagHasFlags | FlagReadOnly | FlagFlush | FlagFUA | FlagTrim | FlagWriteZeroes | FlagMultiConn)
}

func (s *session) reply(opt, typ uint32, body []byte) error {
	b := binary.BigEndian.AppendUint64(nil, protocol.NEGOTIATION_MAGIC_REPLY)
	b = binary.BigEndian.AppendUint32(b, opt)
	b = binary.BigEndian.AppendUint32(b, typ)
	b = binary.BigEndian.AppendUint32(b, uint32(len(body)))
	_, err := s.conn.Write(append(b, body...))
	return err
}

// request serves one request; an error ends the session.
func (s *session) request() error {
	var h [28]byte
	if _, err := io.ReadFull(s.r, h[:]); err != nil {
		return err
	}
	flags, typ := binary.BigEndian.Uint16(h[4:]), binary.BigEndian.Uint16(h[6:])
	off, n := binary.BigEndian.Uint64(h[16:]), binary.BigEndian.Uint32(h[24:])
	data := typ == protocol.TRANSMISSION_TYPE_REQUEST_READ || typ == protocol.TRANSMISSION_TYPE_REQUEST_WRITE
	if binary.BigEndian.Uint32(h[:]) != protocol.TRANSMISSION_MAGIC_REQUEST || data && n > maxRequestLen {
		return errEnd
	}
	if data && int(n) > len(s.buf) {
		s.buf = make([]byte, n)
	}
	answer := 0
	var err error
	switch typ {
	case protocol.TRANSMISSION_TYPE_REQUEST_DISC:
		return errEnd
	case protocol.TRANSMISSION_TYPE_REQUEST_READ:
		if _, err = s.c.ReadAt(s.buf[:n], int64(off)); err == nil {
			answer = int(n)
		}
	case protocol.TRANSMISSION_TYPE_REQUEST_WRITE:
		if _, err := io.ReadFull(s.r, s.buf[:n]); err != nil {
			return err
		}
		err = s.write(off, s.buf[:n], flags&cmdFlagFUA)
	case cmdFlush:
		err = s.c.Flush()
	case cmdTrim:
		err = s.relay.change(s.c, s.up.Disk.ID, redoubt.KindTrim, off, n, flags&cmdFlagFUA, nil)
	case cmdWriteZeroes:
		err = s.relay.change(s.c, s.up.Disk.ID, redoubt.KindZero, off, n, flags&(cmdFlagFUA|cmdFlagNoHole), nil)
	default:
		err = &ErrRemote{Op: "unknown command", Code: uint32(syscall.EINVAL)}
	}
	return s.answer(h[8:16], err, s.buf[:answer])
}

// write passes a write on in pieces that do not cross a multiple of
// MaxWriteData: the server cuts there, and each piece is a write of its own.
func (s *session) write(off uint64, p []byte, flags uint16) error {
	for len(p) > 0 {
		n := min(len(p), int(redoubt.MaxWriteData-off%redoubt.MaxWriteData))
		if err := s.relay.change(s.c, s.up.Disk.ID, redoubt.KindWrite, off, uint32(n), flags, p[:n]); err != nil {
			return err
		}
		off, p = off+uint64(n), p[n:]
	}
	return nil
}

// answer sends the simple reply. A lost upstream closes the session instead.
func (s *session) answer(handle []byte, err error, data []byte) error {
	code := uint32(0)
	var remote *ErrRemote
	if errors.As(err, &remote) {
		code = remote.Code
	} else if err != nil {
		return err
	}
	b := binary.BigEndian.AppendUint32(nil, protocol.TRANSMISSION_MAGIC_REPLY)
	b = binary.BigEndian.AppendUint32(b, code)
	b = append(b, handle...)
	bufs := net.Buffers{b}
	if len(data) > 0 {
		bufs = append(bufs, data)
	}
	_, err = bufs.WriteTo(s.conn)
	return err
}
