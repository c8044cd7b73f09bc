package blockdev

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// logged collects what a server logs.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) has(s string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Contains(l.b.String(), s)
}

// served is a server on a unix socket with the volumes of a rig as exports.
type served struct {
	*rig
	s    *Server
	sock string
	log  *logged
}

func serve(t *testing.T, o ServerOptions, r *rig) *served {
	t.Helper()
	sv := &served{rig: r, log: &logged{}, sock: filepath.Join(t.TempDir(), "nbd", "s")}
	o.Logger = slog.New(slog.NewTextHandler(sv.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	sv.s = NewServer(o)
	for _, v := range r.g.Volumes() {
		if err := sv.s.Add(Export{Name: v.Disk().Name, Volume: v, Description: "disk " + v.Disk().Name}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := ListenUnix(sv.sock)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- sv.s.Serve(l) }()
	t.Cleanup(func() {
		sv.s.Close()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
		r.close(t)
	})
	return sv
}

// client speaks NBD byte by byte.
type client struct {
	t  *testing.T
	nc net.Conn
	agreed
}

func (sv *served) dial(t *testing.T) *client {
	t.Helper()
	nc, err := net.Dial("unix", sv.sock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, nc: nc}
}

func (sv *served) client(t *testing.T, export string) *client {
	t.Helper()
	c := sv.dial(t)
	var err error
	if c.agreed, err = negotiate(c.nc, export); err != nil {
		t.Fatal(err)
	}
	return c
}

func header(flags, typ uint16, cookie, off uint64, n uint32) []byte {
	b, _ := binary.Append(nil, binary.BigEndian, protocol.TransmissionRequestHeader{
		RequestMagic: protocol.TRANSMISSION_MAGIC_REQUEST, CommandFlags: flags, Type: typ, Handle: cookie, Offset: off, Length: n})
	return b
}

func (c *client) send(parts ...[]byte) {
	c.t.Helper()
	for _, p := range parts {
		if _, err := c.nc.Write(p); err != nil {
			c.t.Fatal(err)
		}
	}
}

// answer reads a simple reply, and n bytes of data if it is no error.
func (c *client) answer(n int) (cookie uint64, errno uint32, data []byte) {
	c.t.Helper()
	var h protocol.TransmissionReplyHeader
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		c.t.Fatal(err)
	}
	if h.ReplyMagic != protocol.TRANSMISSION_MAGIC_REPLY {
		c.t.Fatalf("reply with magic %#x", h.ReplyMagic)
	}
	if h.Error == 0 {
		data = make([]byte, n)
		if _, err := io.ReadFull(c.nc, data); err != nil {
			c.t.Fatal(err)
		}
	}
	return h.Handle, h.Error, data
}

// do sends one request and returns its answer.
func (c *client) do(flags, typ uint16, off uint64, n uint32, payload []byte) (uint32, []byte) {
	c.t.Helper()
	c.send(header(flags, typ, off^0xabcdef, off, n), payload)
	want := 0
	if typ == cmdRead {
		want = int(n)
	}
	cookie, errno, data := c.answer(want)
	if cookie != off^0xabcdef {
		c.t.Fatalf("answer to %#x", cookie)
	}
	return errno, data
}

// gone checks that the server has closed the connection.
func (c *client) gone() {
	c.t.Helper()
	if n, err := io.Copy(io.Discard, c.nc); err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Errorf("after %d bytes: %v; want the connection closed", n, err)
	}
}

func option(id uint32, data []byte) []byte {
	b, _ := binary.Append(nil, binary.BigEndian, protocol.NegotiationOptionHeader{
		OptionMagic: protocol.NEGOTIATION_MAGIC_OPTION, ID: id, Length: uint32(len(data))})
	return append(b, data...)
}

// hello reads the server's greeting and answers with flags.
func (c *client) hello(flags uint32) {
	c.t.Helper()
	var h protocol.NegotiationNewstyleHeader
	if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
		c.t.Fatal(err)
	}
	c.send(binary.BigEndian.AppendUint32(nil, flags))
}

// option sends an option and reads its replies up to the last.
func (c *client) option(id uint32, data []byte) (typ uint32, infos [][]byte) {
	c.t.Helper()
	typ, infos, err := ask(c.nc, id, data)
	if err != nil {
		c.t.Fatal(err)
	}
	return typ, infos
}

// ask sends an option and returns the type of its last reply and the data of
// those before.
func ask(nc net.Conn, id uint32, data []byte) (typ uint32, infos [][]byte, err error) {
	if _, err := nc.Write(option(id, data)); err != nil {
		return 0, nil, err
	}
	for {
		var h protocol.NegotiationReplyHeader
		if err := binary.Read(nc, binary.BigEndian, &h); err != nil {
			return 0, nil, err
		}
		if h.ID != id || h.ReplyMagic != protocol.NEGOTIATION_MAGIC_REPLY {
			return 0, nil, fmt.Errorf("reply %+v to option %d", h, id)
		}
		b := make([]byte, h.Length)
		if _, err := io.ReadFull(nc, b); err != nil {
			return 0, nil, err
		}
		if h.Type == protocol.NEGOTIATION_TYPE_REPLY_ACK || h.Type&(1<<31) != 0 {
			return h.Type, infos, nil
		}
		infos = append(infos, b)
	}
}

func goData(name string, wants ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = binary.BigEndian.AppendUint16(append(b, name...), uint16(len(wants)))
	for _, w := range wants {
		b = binary.BigEndian.AppendUint16(b, w)
	}
	return b
}
