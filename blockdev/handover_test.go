package blockdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// restart is a planned restart: another group over the same journal and disks,
// another server, the same connections.
func (sv *served) restart(t *testing.T) []error {
	t.Helper()
	conns := sv.s.Retire(20 * time.Second)
	sv.close(t)
	sv.open(t)
	return sv.next(t, conns)
}

// next serves conns with a new server.
func (sv *served) next(t *testing.T, conns []handover.Conn) (errs []error) {
	t.Helper()
	sv.s = NewServer(ServerOptions{Logger: slog.New(slog.NewTextHandler(sv.log, nil))})
	for _, v := range sv.g.Volumes() {
		if err := sv.s.Add(Export{Name: v.Disk().Name, Volume: v}); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { sv.s.Close() }) // before the cleanup that closes the rig
	for _, h := range conns {
		if err := sv.s.Adopt(h); err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (sv *served) mustRestart(t *testing.T, conns int) {
	t.Helper()
	if errs := sv.restart(t); len(errs) > 0 {
		t.Fatal(errs)
	}
	if n := sv.s.Conns(); n != conns {
		t.Fatalf("%d connections went on, want %d", n, conns)
	}
}

// A request of any length cut at any byte by a restart is carried out once.
func TestRestartInsideRequests(t *testing.T) {
	const size = 8 << 20
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, size))
	rng := seeded.Rand(t)
	c := sv.client(t, "d1")
	want := make([]byte, size)
	for i, n := range []int{4096, 4096, 4096, 512, 1000, 100 << 10, 256 << 10, 600 << 10, 3 << 20} {
		off := uint64(rng.IntN(size - n))
		payload := bytes.Repeat([]byte{byte(i + 1)}, n)
		payload[n/2] = byte(rng.Uint32())
		copy(want[off:], payload)
		msg := append(header(cmdFlagFUA, cmdWrite, uint64(i), off, uint32(n)), payload...)
		cut := []int{1, requestLen - 1, requestLen, requestLen + 1, len(msg) - 1}[i%5]
		if i >= 5 {
			cut = 1 + rng.IntN(len(msg)-1)
		}
		c.send(msg[:cut])
		sv.mustRestart(t, 1)
		mid := cut + rng.IntN(len(msg)-cut)
		c.send(msg[cut:mid])
		sv.mustRestart(t, 1)
		c.send(msg[mid:])
		if cookie, errno, _ := c.answer(0); cookie != uint64(i) || errno != 0 {
			t.Fatalf("write of %d bytes cut at %d and %d: cookie %d, errno %d", n, cut, mid, cookie, errno)
		}
	}
	if _, got := c.do(0, cmdRead, 0, size, nil); !bytes.Equal(got, want) {
		t.Error(differ(got, want))
	}
}

// A WRITE that was refused before the restart is skipped to its end after it.
func TestRestartInsideRefusedWrite(t *testing.T) {
	const size = 1 << 20
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, size))
	c := sv.client(t, "d1")
	c.send(header(0, cmdWrite, 1, size-4096, 8192), make([]byte, 5000))
	sv.mustRestart(t, 1)
	c.send(make([]byte, 3192))
	if _, errno, _ := c.answer(0); errno != errNoSpace {
		t.Errorf("errno %d", errno)
	}
	if errno, _ := c.do(0, cmdRead, 0, 512, nil); errno != 0 {
		t.Errorf("the stream is out of step: %d", errno)
	}
}

// What was agreed holds: structured replies and the meta context.
func TestRestartKeepsWhatWasAgreed(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
	c := sv.dial(t)
	c.hello(uint32(protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE))
	meta := binary.BigEndian.AppendUint32([]byte("\x00\x00\x00\x02d1\x00\x00\x00\x01"), uint32(len(contextAllocation)))
	for _, o := range []struct {
		id   uint32
		data []byte
	}{{optStructured, nil}, {optSetMeta, append(meta, contextAllocation...)}, {protocol.NEGOTIATION_ID_OPTION_GO, goData("d1")}} {
		if typ, _ := c.option(o.id, o.data); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
			t.Fatalf("option %d: %#x", o.id, typ)
		}
	}
	ask := func() []byte {
		read, status := make([]byte, structuredLen+8+4096), make([]byte, structuredLen+4+8)
		c.send(header(0, cmdRead, 1, 0, 4096))
		_, err := io.ReadFull(c.nc, read)
		c.send(header(0, cmdBlockStatus, 2, 0, 1<<20))
		_, err2 := io.ReadFull(c.nc, status)
		if err := errors.Join(err, err2); err != nil {
			t.Fatal(err)
		}
		return append(status, read...)
	}
	before := ask()
	sv.mustRestart(t, 1)
	if after := ask(); !bytes.Equal(before, after) {
		t.Errorf("before %x\nafter  %x", before[:64], after[:64])
	}
}

// Answers that the client has not read yet are not lost, and requests that lie
// in the socket are served by the next life.
func TestRestartWithRequestsInFlight(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 4<<20))
	c := sv.client(t, "d1")
	const n = 2000
	sent := make(chan error, 1)
	go func() {
		var err error
		for i := uint64(0); i < n && err == nil; i++ {
			_, err = c.nc.Write(append(header(0, cmdWrite, i, i%1000*4096, 4096), bytes.Repeat([]byte{byte(i)}, 4096)...))
		}
		sent <- err
	}()
	seen := make(map[uint64]bool)
	for i := range n {
		if i%400 == 100 {
			sv.mustRestart(t, 1)
		}
		cookie, errno, _ := c.answer(0)
		if errno != 0 || seen[cookie] {
			t.Fatalf("answer %d: cookie %d, errno %d, seen before: %v", i, cookie, errno, seen[cookie])
		}
		seen[cookie] = true
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	_, got := c.do(0, cmdRead, 0, 1000*4096, nil)
	for i := range 1000 {
		if got[i*4096] != byte(i+1000) {
			t.Fatalf("block %d holds %d", i, got[i*4096])
		}
	}
}

// A write that was acknowledged before is covered by a flush after.
func TestFlushAfterRestart(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
	c := sv.client(t, "d1")
	if errno, _ := c.do(0, cmdWrite, 4096, 4096, bytes.Repeat([]byte{7}, 4096)); errno != 0 {
		t.Fatal(errno)
	}
	sv.mustRestart(t, 1)
	if errno, _ := c.do(0, cmdFlush, 0, 0, nil); errno != 0 {
		t.Fatal(errno)
	}
	lost := sv.disks[0].after(rand.New(rand.NewPCG(1, 1)))
	j := records(t, sv.j, 0)
	disk := [][]byte{lost.now}
	play(disk, j, sv.j.Durable())
	if disk[0][4096] != 7 {
		t.Error("a power cut after the flush loses the write")
	}
}

// Connections that must not go on are closed, and the reason is said.
func TestNotTakenOver(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*handover.Conn)
		want   error
	}{
		"no such export":  {func(h *handover.Conn) { h.Export = "d2" }, redoubt.ErrNotFound},
		"another size":    {func(h *handover.Conn) { h.Size += 512 }, redoubt.ErrState},
		"too much left":   {func(h *handover.Conn) { h.Left = make([]byte, requestLen) }, redoubt.ErrCorrupt},
		"beyond the disk": {func(h *handover.Conn) { h.Write = &handover.PartWrite{Off: h.Size, Left: 1} }, redoubt.ErrCorrupt},
		"overflow":        {func(h *handover.Conn) { h.Write = &handover.PartWrite{Off: 1<<64 - 1, Left: 2} }, redoubt.ErrCorrupt},
		"nothing to come": {func(h *handover.Conn) { h.Write = &handover.PartWrite{} }, redoubt.ErrCorrupt},
	} {
		t.Run(name, func(t *testing.T) {
			sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
			cl := sv.client(t, "d1")
			conns := sv.s.Retire(20 * time.Second)
			if len(conns) != 1 {
				t.Fatalf("%d connections", len(conns))
			}
			c.change(&conns[0])
			if errs := sv.next(t, conns); len(errs) != 1 || !errors.Is(errs[0], c.want) {
				t.Errorf("got %v, want %v", errs, c.want)
			}
			cl.gone()
		})
	}
}

// After a failure nothing goes on: what was acknowledged and not flushed may be lost.
func TestFailedGroupIsNotHandedOver(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
	c := sv.client(t, "d1")
	sv.disks[0].setFail(errors.New("broken"))
	c.do(0, cmdWrite, 0, 4096, make([]byte, 4096))
	eventually(t, "the group fails", func() bool { return sv.g.Err() != nil })
	if conns := sv.s.Retire(20 * time.Second); len(conns) != 0 {
		t.Errorf("%d connections of a failed group were handed over", len(conns))
	}
	c.gone()
	sv.disks[0].setFail(nil)
}

// A client that takes no answers cannot hold the restart up, and one in its
// handshake neither.
func TestRetireDoesNotWaitForEver(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 64<<20))
	deaf, good := sv.client(t, "d1"), sv.client(t, "d1")
	sv.dial(t) // says nothing
	for i := range uint64(64) {
		deaf.send(header(0, cmdRead, i, 0, 16<<20))
	}
	eventually(t, "the deaf client's answers are stuck", func() bool { return good.served(sv) && sv.s.Conns() == 3 })
	conns := sv.s.Retire(500 * time.Millisecond)
	for i := range conns {
		conns[i].End()
	}
	if len(conns) != 1 {
		t.Errorf("%d connections were handed over, want the good one", len(conns))
	}
}

func (c *client) served(*served) bool {
	errno, _ := c.do(0, cmdRead, 0, 512, nil)
	return errno == 0
}

// A TLS connection stays in its process: it is closed between two requests, in
// an orderly way.
func TestTLSIsNotHandedOver(t *testing.T) {
	a := newAuthority(t)
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
	addr := sv.serveTLS(t, load(t, a.issue(pki.RoleSource, "host1", "127.0.0.1")), map[string][]string{"d1": {"vm1"}})
	c := dialTCP(t, addr)
	c.hello(3)
	cfg := load(t, a.issue(pki.RoleClient, "vm1")).ClientTLS("127.0.0.1", pki.RoleSource)
	if err := c.upgrade(cfg); err != nil {
		t.Fatal(err)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_GO, goData("d1")); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Fatalf("GO: %#x", typ)
	}
	c.send(header(0, cmdWrite, 1, 0, 4096), make([]byte, 4096))
	if _, errno, _ := c.answer(0); errno != 0 {
		t.Fatal(errno)
	}
	if conns := sv.s.Retire(20 * time.Second); len(conns) != 0 {
		t.Errorf("%d connections were handed over", len(conns))
	}
	if n, err := c.nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the client reads %d, %v; want the orderly end", n, err)
	}
}
