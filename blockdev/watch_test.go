package blockdev

import (
	"bytes"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// eventually waits for something that a goroutine does by itself.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("in vain: %s", what)
		}
	}
}

// only returns the server's one connection.
func (sv *served) only(t *testing.T) *conn {
	t.Helper()
	sv.s.mu.Lock()
	defer sv.s.mu.Unlock()
	for c := range sv.s.conns {
		if len(sv.s.conns) == 1 {
			return c
		}
	}
	t.Fatalf("%d connections", len(sv.s.conns))
	return nil
}

func TestClientThatStopsReading(t *testing.T) {
	const size = 64 << 20
	sv := serve(t, ServerOptions{StallTimeout: 300 * time.Millisecond}, newRig(t, GroupOptions{}, nil, size))
	for name, n := range map[string]uint32{"short answers": 64 << 10, "long answers": 16 << 20} {
		t.Run(name, func(t *testing.T) {
			c := sv.client(t, "d1")
			for i := range uint64(64) {
				if _, err := c.nc.Write(header(0, cmdRead, i, 0, n)); err != nil {
					break // it was thrown out already
				}
			}
			eventually(t, "the connection is closed", func() bool { return sv.s.Conns() == 0 })
			if !sv.log.has("does not take its answers") {
				t.Errorf("the log does not say why:\n%s", sv.log.b.String())
			}
		})
	}
}

// A client that reads slowly, but reads, stays.
func TestSlowReaderStays(t *testing.T) {
	const n = 8 << 20
	sv := serve(t, ServerOptions{StallTimeout: 400 * time.Millisecond}, newRig(t, GroupOptions{}, nil, n))
	c := sv.client(t, "d1")
	began := time.Now()
	c.send(header(0, cmdRead, 1, 0, n))
	got, b := 0, make([]byte, 128<<10)
	for got < n+simpleLen {
		k, err := c.nc.Read(b)
		if got += k; err != nil {
			t.Fatalf("after %d bytes and %v: %v", got, time.Since(began), err)
		}
		time.Sleep(20 * time.Millisecond) // a slow link
	}
	if took := time.Since(began); took < time.Second {
		t.Errorf("the answer took %v: the test shows nothing", took)
	}
}

func TestHalfRequest(t *testing.T) {
	sv := serve(t, ServerOptions{StallTimeout: 200 * time.Millisecond}, newRig(t, GroupOptions{}, nil, 8<<20))
	for name, b := range map[string][]byte{
		"header":  header(0, cmdWrite, 1, 0, 4096)[:20],
		"payload": append(header(0, cmdWrite, 1, 0, 4<<20), make([]byte, 1<<20)...),
		"refused": append(header(0, cmdWrite, 1, 8<<20, 4<<20), make([]byte, 1<<20)...),
	} {
		c := sv.client(t, "d1")
		c.send(b)
		c.gone()
		if !sv.log.has("does not send the rest") {
			t.Errorf("%s: the log does not say why", name)
		}
	}
}

// An idle connection holds next to nothing, and goes on as before when it wakes.
func TestIdleConnectionGivesMemoryBack(t *testing.T) {
	const size = 8 << 20
	sv := serve(t, ServerOptions{IdleAfter: 50 * time.Millisecond}, newRig(t, GroupOptions{}, nil, size))
	c := sv.client(t, "d1")
	data := bytes.Repeat([]byte("0123456789abcdef"), 64<<10)
	srv := sv.only(t)
	for round := range 3 {
		eventually(t, "the connection rests", func() bool { return srv.pulse.read.Load()&(pulseRest|pulseBusy) == pulseRest|pulseBusy })
		if n := len(srv.in.b) + cap(srv.out); n > restChunk { // the loop waits in its read: nobody else uses them
			t.Errorf("round %d: %d bytes are held", round, n)
		}
		off := uint64(round) << 20
		if errno, _ := c.do(0, cmdWrite, off, uint32(len(data)), data); errno != 0 {
			t.Fatalf("write: %d", errno)
		}
		if errno, got := c.do(0, cmdRead, off, uint32(len(data)), nil); errno != 0 || !bytes.Equal(got, data) {
			t.Fatalf("read: %d", errno)
		}
	}
	if err := sv.g.Drain(background); err != nil {
		t.Fatal(err)
	}
	if got := content(t, sv.g.Volumes()[0]); !bytes.Equal(got[:3<<20], bytes.Repeat(data, 3)) {
		t.Error("the disk differs")
	}
}

// Whoever dawdles in the handshake makes room for others, and takes no place
// among the clients that are served.
func TestLobby(t *testing.T) {
	sv := serve(t, ServerOptions{MaxConns: 2, MaxHandshakes: 8, HandshakeTimeout: time.Minute}, newRig(t, GroupOptions{}, nil, 64<<10))
	first := sv.dial(t)
	first.hello(3)
	var idle []*client
	for range 40 {
		idle = append(idle, sv.dial(t))
	}
	first.gone()
	a, b := sv.client(t, "d1"), sv.client(t, "d1")
	eventually(t, "those that had to leave are gone", func() bool { return sv.s.Conns() <= 2+8 })
	// The third is told why.
	c := sv.dial(t)
	c.hello(3)
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_INFO, goData("d1")); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Errorf("info: %#x", typ)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_GO, goData("d1")); typ != repErrPolicy {
		t.Errorf("go: %#x", typ)
	}
	a.nc.Close()
	eventually(t, "a place is free", func() bool {
		typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_GO, goData("d1"))
		return typ == protocol.NEGOTIATION_TYPE_REPLY_ACK
	})
	for _, x := range []*client{b, c} {
		if errno, _ := x.do(0, cmdFlush, 0, 0, nil); errno != 0 {
			t.Errorf("flush: %d", errno)
		}
	}
	for _, x := range idle {
		x.nc.Close()
	}
	eventually(t, "the lobby is empty", func() bool { return sv.s.Conns() == 2 })
}
