package ship

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

// script is a sender that does as it is told, over real TLS.
type script struct {
	t    *testing.T
	conn net.Conn
	r    wire.Reader
}

func (w *world) script(addr string, cred *pki.Credentials) *script {
	w.t.Helper()
	conn, err := netmux.Dial(context.Background(), addr, netmux.ProtoShip, cred)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	return &script{t: w.t, conn: conn, r: wire.Reader{R: conn, Max: maxHello}}
}

func (s *script) send(typ uint8, parts ...[]byte) {
	// The receiver may have ended the stream already: what it said is read below.
	_ = wire.WriteFrame(s.conn, typ, parts...)
}

// hello opens the stream and returns the answer's type and body.
func (s *script) hello(h Hello) (uint8, []byte) {
	s.t.Helper()
	if err := wire.WritePreface(s.conn, tag()); err != nil {
		s.t.Fatal(err)
	}
	b, err := encodeJSON(h)
	if err != nil {
		s.t.Fatal(err)
	}
	s.send(frameHello, b)
	if err := wire.ReadPreface(s.conn, tag()); err != nil {
		s.t.Fatal(err)
	}
	return s.answer()
}

func (s *script) answer() (uint8, []byte) {
	s.t.Helper()
	for {
		typ, b, err := s.r.Next()
		if err != nil {
			s.t.Fatalf("answer: %v", err)
		}
		if typ != frameAlive {
			return typ, b
		}
	}
}

// refusal reads until the receiver's error; acks may come before.
func (s *script) refusal() error {
	s.t.Helper()
	for {
		typ, b := s.answer()
		if typ == frameError {
			return wire.DecodeError("test", "", b)
		}
	}
}

func (s *script) open(start uint64) {
	s.t.Helper()
	h := hello()
	h.Epoch = 1
	if typ, b := s.hello(h); typ != frameWelcome {
		s.t.Fatalf("answer %d: %s", typ, b)
	}
	s.send(frameBegin, encodeNumbers(start))
}

func delta(t *testing.T, group redoubt.GroupID, epoch redoubt.Epoch, ws []redoubt.Write) []byte {
	t.Helper()
	b := NewBuilder(group, epoch, NewCompressor(CodecS2))
	for i := range ws {
		if err := b.Add(&ws[i]); err != nil {
			t.Fatal(err)
		}
	}
	d, err := b.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return d.Encoded()
}

// A host that was copied with its certificate and comes with a group of its own
// is refused; the stream of the one that the group belongs to goes on.
func TestACopiedHostEndsNoStream(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	rec := newRecorder(t)
	rec.uuid = hello().UUID
	addr := w.receive(rec, "n1")
	cred := w.cred(pki.RoleSource, "host1")
	s := w.script(addr, cred)
	s.open(1)
	for range 3 {
		other := hello()
		other.Epoch, other.UUID = 1, "copy"
		c := w.script(addr, cred)
		typ, b := c.hello(other)
		if typ != frameError || !errors.Is(wire.DecodeError("test", "", b), redoubt.ErrExists) {
			t.Fatalf("answer %d: %s", typ, b)
		}
		c.conn.Close()
	}
	s.send(frameDelta, delta(t, "g1", 1, randomWrites(rng, 1, 10, 4096)))
	if typ, b := s.answer(); typ != frameAck || !bytes.Equal(b, encodeNumbers(1, 10)) {
		t.Fatalf("answer %d: %x", typ, b)
	}
}

// T2: frames that are duplicated, reordered, truncated, flipped, replayed or not
// of this stream change nothing; each ends with a clear error or an ack.
func TestHostileFrames(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	rec := newRecorder(t)
	addr := w.receive(rec, "n1")
	cred := w.cred(pki.RoleSource, "host1")
	ws := randomWrites(rng, 1, 40, 4096)
	part := func(from, to int) []byte { return delta(t, "g1", 1, ws[from-1:to]) }

	// 1..10 get committed in the ordinary way.
	s := w.script(addr, cred)
	s.open(1)
	s.send(frameDelta, part(1, 10))
	if typ, b := s.answer(); typ != frameAck || !bytes.Equal(b, encodeNumbers(1, 10)) {
		t.Fatalf("answer %d %x", typ, b)
	}
	// A duplicate is acknowledged again.
	s.send(frameDelta, part(1, 10))
	if typ, b := s.answer(); typ != frameAck || !bytes.Equal(b, encodeNumbers(1, 10)) {
		t.Fatalf("duplicate: answer %d %x", typ, b)
	}
	s.conn.Close()
	rec.await("the end", func() bool { return rec.open == 0 })

	outside := []redoubt.Write{ws[10]}
	outside[0].Kind, outside[0].Disk, outside[0].Data, outside[0].CRC = redoubt.KindTrim, 1, nil, 0
	outside[0].Extent = redoubt.Extent{Off: diskSize, Len: 512}
	noDisk := []redoubt.Write{outside[0]}
	noDisk[0].Disk, noDisk[0].Extent = 9, redoubt.Extent{Len: 512}
	flipped := part(11, 20)
	flipped[rng.IntN(len(flipped))] ^= 1 << rng.IntN(8)

	for name, c := range map[string]struct {
		start uint64
		send  func(s *script)
		want  error
	}{
		"replay of an old stream":   {1, func(s *script) { s.send(frameDelta, part(1, 10)) }, redoubt.ErrGap},
		"beginning too late":        {12, func(s *script) {}, redoubt.ErrGap},
		"second beginning":          {11, func(s *script) { s.send(frameBegin, encodeNumbers(11)) }, redoubt.ErrGap},
		"reordered":                 {11, func(s *script) { s.send(frameDelta, part(21, 30)); s.send(frameDelta, part(11, 20)) }, redoubt.ErrGap},
		"overlapping":               {11, func(s *script) { s.send(frameDelta, part(5, 20)) }, redoubt.ErrGap},
		"flipped":                   {11, func(s *script) { s.send(frameDelta, flipped) }, redoubt.ErrCorrupt},
		"truncated delta":           {11, func(s *script) { b := part(11, 20); s.send(frameDelta, b[:rng.IntN(len(b))]) }, redoubt.ErrCorrupt},
		"another group's":           {11, func(s *script) { s.send(frameDelta, delta(t, "g2", 1, ws[10:20])) }, redoubt.ErrInvalid},
		"an old epoch's":            {11, func(s *script) { s.send(frameDelta, delta(t, "g1", 7, ws[10:20])) }, redoubt.ErrFenced},
		"past the end of the disk":  {11, func(s *script) { s.send(frameDelta, delta(t, "g1", 1, outside)) }, redoubt.ErrOutOfRange},
		"to a disk that is not":     {11, func(s *script) { s.send(frameDelta, delta(t, "g1", 1, noDisk)) }, redoubt.ErrOutOfRange},
		"a frame of another type":   {11, func(s *script) { s.send(99) }, redoubt.ErrCorrupt},
		"an ack from the sender":    {11, func(s *script) { s.send(frameAck, encodeNumbers(1, 40)) }, redoubt.ErrCorrupt},
		"a heartbeat cut short":     {11, func(s *script) { s.send(frameHeartbeat, encodeNumbers(1)) }, redoubt.ErrCorrupt},
		"a frame flipped in header": {11, func(s *script) { writeFlipped(s.conn, part(11, 20)) }, redoubt.ErrCorrupt},
		"a length over the cap":     {11, func(s *script) { s.conn.Write([]byte{0xff, 0xff, 0xff, 0xff, frameDelta, 0, 0, 0, 0, 0, 0, 0}) }, redoubt.ErrCorrupt},
	} {
		before := rec.appended
		s := w.script(addr, cred)
		s.open(c.start)
		c.send(s)
		if err := s.refusal(); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", name, err)
		}
		s.conn.Close()
		rec.await("the end", func() bool { return rec.open == 0 })
		if rec.appended != before || rec.committed.LSN != 10 || len(rec.writes) != 10 {
			t.Fatalf("%s: changed something: %d appended, committed %s", name, rec.appended, rec.committed)
		}
	}
	// A stream cut inside of a frame.
	s = w.script(addr, cred)
	s.open(11)
	var buf bytes.Buffer
	_ = wire.WriteFrame(&buf, frameDelta, part(11, 20))
	s.conn.Write(buf.Bytes()[:buf.Len()/2])
	s.conn.Close()
	rec.await("the end", func() bool { return rec.open == 0 })
	if rec.committed.LSN != 10 {
		t.Fatalf("cut frame: committed %s", rec.committed)
	}
	// And the right one still goes through.
	s = w.script(addr, cred)
	s.open(11)
	s.send(frameDelta, part(11, 20))
	rec.awaitLSN(20)
	sameWrites(t, rec.writes, normal(ws[:20]))
}

func writeFlipped(w io.Writer, body []byte) {
	var buf bytes.Buffer
	_ = wire.WriteFrame(&buf, frameDelta, body)
	buf.Bytes()[4] ^= 1 // a delta becomes an ack
	_, _ = w.Write(buf.Bytes())
}

func TestWhoMayShip(t *testing.T) {
	w := newWorld(t)
	normal := newRecorder(t) // its writer is source/host1
	addr := w.receive(normal, "n1")
	failed := newRecorder(t)
	failed.welcome.Writer = "target/n2"
	failedAddr := w.receive(failed, "n1")
	reverse := hello()
	reverse.Reverse = true
	other := hello()
	other.Source = "host2"
	for name, c := range map[string]struct {
		addr  string
		role  pki.Role
		peer  string
		hello Hello
		ok    bool
	}{
		"the source":                             {addr, pki.RoleSource, "host1", hello(), true},
		"another source under its name":          {addr, pki.RoleSource, "host2", hello(), false},
		"another source under its own name":      {addr, pki.RoleSource, "host2", other, false},
		"a target without failover":              {addr, pki.RoleTarget, "n2", hello(), false},
		"the target that has it":                 {failedAddr, pki.RoleTarget, "n2", hello(), true},
		"another target":                         {failedAddr, pki.RoleTarget, "n3", hello(), false},
		"the old source":                         {failedAddr, pki.RoleSource, "host1", hello(), false},
		"reverse by a target":                    {addr, pki.RoleTarget, "n2", reverse, true},
		"reverse by a source":                    {addr, pki.RoleSource, "host1", reverse, false},
		"an operator (refused by the port)":      {addr, pki.RoleOperator, "o", hello(), false},
		"a target that asks for the other group": {addr, pki.RoleTarget, "n3", other, false},
	} {
		c.hello.Epoch = 1
		cred := w.cred(c.role, c.peer)
		if c.role == pki.RoleOperator {
			if _, err := netmux.Dial(context.Background(), c.addr, netmux.ProtoShip, cred); !errors.Is(err, redoubt.ErrDenied) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		s := w.script(c.addr, cred)
		typ, b := s.hello(c.hello)
		if c.ok {
			if got, err := decodeJSON[Welcome](b); typ != frameWelcome || err != nil || !got.Accepted {
				t.Errorf("%s: answer %d %s", name, typ, b)
			}
		} else if err := wire.DecodeError("test", "", b); typ != frameError || !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s: answer %d %s", name, typ, b)
		}
		s.conn.Close()
		for _, rec := range []*recorder{normal, failed} {
			rec.await("the end", func() bool { return rec.open == 0 })
		}
	}
}

func TestBadHello(t *testing.T) {
	w := newWorld(t)
	rec := newRecorder(t)
	addr := w.receive(rec, "n1")
	for name, change := range map[string]func(h *Hello){
		"group name":     func(h *Hello) { h.Group = "../x" },
		"epoch 0":        func(h *Hello) { h.Epoch = 0 },
		"disk twice":     func(h *Hello) { h.Disks[1] = h.Disks[0] },
		"disk of 0":      func(h *Hello) { h.Disks[1].Size = 0 },
		"odd disk":       func(h *Hello) { h.Disks[1].Size = 513 },
		"oversized disk": func(h *Hello) { h.Disks[1].Size = 1 << 62 },
		"lineage":        func(h *Hello) { h.Lineage = redoubt.Lineage{{Epoch: 2}, {Epoch: 1}} },
		"shards":         func(h *Hello) { h.K = 1 << 30 },
	} {
		h := hello()
		h.Epoch = 1
		change(&h)
		s := w.script(addr, w.cred(pki.RoleSource, "host1"))
		typ, b := s.hello(h)
		if err := wire.DecodeError("test", "", b); typ != frameError || !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%s: answer %d %s", name, typ, b)
		}
	}
	if len(rec.begins) != 0 || rec.open != 0 {
		t.Error("a stream was opened")
	}
}

// liar is a receiver that acknowledges what it cannot have.
func TestLyingAck(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	m, err := netmux.Listen("127.0.0.1:0", w.cred(pki.RoleTarget, "n1"), quiet())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	l := m.Listener(netmux.ProtoShip)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = wire.WritePreface(c, tag())
			b, _ := encodeJSON(Welcome{Accepted: true, Epoch: 1, Writer: "source/host1", Committed: redoubt.Position{Epoch: 1}})
			_ = wire.WriteFrame(c, frameWelcome, b)
			_ = wire.WriteFrame(c, frameAck, encodeNumbers(1, 1000))
		}
	}()
	s, _ := w.run(w.options(j, m.Addr().String()))
	fill(t, seed(t), j, 10, 4096)
	await(t, "the lie is noticed", func() bool { return errors.Is(s.Status().LastError, redoubt.ErrCorrupt) })
	if got := j.Cursors()["site"]; got != 0 {
		t.Errorf("cursor at %d", got)
	}
}

func FuzzControl(f *testing.F) {
	f.Add([]byte(`{"group":"g"}`), uint8(0))
	f.Add([]byte(`{"group":"g","source":"s","probe":true,"ask":{"op":"Pause","by":"ann","reason":"why"}}`), uint8(0))
	f.Add(appendDirty(nil, 1, redoubt.Extent{Off: 1, Len: 2}), uint8(1))
	f.Fuzz(func(t *testing.T, b []byte, what uint8) {
		switch what % 3 {
		case 0:
			if h, err := decodeJSON[Hello](b); err == nil && checkHello(&h) == nil {
				for _, d := range h.Disks {
					if d.Size > redoubt.MaxDiskSize {
						t.Fatal("oversized disk")
					}
				}
			}
		case 1:
			m := map[redoubt.DiskID][]redoubt.Extent{}
			if n, err := decodeDirty(b, m); err == nil && n*dirtyLen != len(b) {
				t.Fatalf("%d extents of %d bytes", n, len(b))
			}
		case 2:
			if w, err := decodeJSON[Welcome](b); err == nil {
				_ = w.resume(2)
			}
		}
	})
}
