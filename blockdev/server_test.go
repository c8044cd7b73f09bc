package blockdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func TestHandshake(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20, 64<<10))
	c := sv.dial(t)
	c.hello(3)
	if typ, _ := c.option(77, []byte("what")); typ != protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED {
		t.Errorf("unknown option: %#x", typ)
	}
	if typ, _ := c.option(optStartTLS, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED {
		t.Errorf("STARTTLS: %#x", typ)
	}
	if typ, _ := c.option(77, make([]byte, 100<<10)); typ != repErrTooBig {
		t.Errorf("long option: %#x", typ)
	}
	typ, list := c.option(protocol.NEGOTIATION_ID_OPTION_LIST, nil)
	if typ != protocol.NEGOTIATION_TYPE_REPLY_ACK || len(list) != 2 || string(list[1]) != "\x00\x00\x00\x02d2disk d2" {
		t.Errorf("list: %#x %q", typ, list)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_INFO, goData("nope")); typ != protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN {
		t.Errorf("unknown export: %#x", typ)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_INFO, goData("")); typ != protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN {
		t.Errorf("default of two exports: %#x", typ)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_GO, []byte{0xff, 0xff, 0xff, 0xff, 0, 0}); typ != repErrInvalid {
		t.Errorf("name longer than the option: %#x", typ)
	}
	typ, infos := c.option(protocol.NEGOTIATION_ID_OPTION_GO, goData("d1", 1, 2, 3, 99))
	if typ != protocol.NEGOTIATION_TYPE_REPLY_ACK || len(infos) != 4 {
		t.Fatalf("go: %#x %q", typ, infos)
	}
	want := "\x00\x00" + "\x00\x00\x00\x00\x00\x10\x00\x00" + "\x0d\x6d"
	if string(infos[0]) != want {
		t.Errorf("export info %x, want %x", infos[0], want)
	}
	if string(infos[1]) != "\x00\x03"+"\x00\x00\x00\x01"+"\x00\x00\x10\x00"+"\x02\x00\x00\x00" || string(infos[2]) != "\x00\x01d1" || string(infos[3]) != "\x00\x02disk d1" {
		t.Errorf("infos %q", infos[1:])
	}
	if errno, _ := c.do(0, cmdFlush, 0, 0, nil); errno != 0 {
		t.Errorf("flush: %d", errno)
	}

	old := sv.dial(t)
	old.hello(1) // wants the zeros
	old.send(option(optExportName, []byte("d2")))
	b := make([]byte, 134)
	if _, err := io.ReadFull(old.nc, b); err != nil || binary.BigEndian.Uint64(b) != 64<<10 {
		t.Errorf("export name: %x, %v", b, err)
	}
	if errno, data := old.do(0, cmdRead, 0, 512, nil); errno != 0 || len(data) != 512 {
		t.Errorf("read: %d", errno)
	}

	abort := sv.dial(t)
	abort.hello(3)
	if typ, _ := abort.option(protocol.NEGOTIATION_ID_OPTION_ABORT, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Errorf("abort: %#x", typ)
	}
	abort.gone()
}

func TestHandshakeBadClients(t *testing.T) {
	sv := serve(t, ServerOptions{HandshakeTimeout: 300 * time.Millisecond, MaxConns: 4}, newRig(t, GroupOptions{}, nil, 64<<10))
	for name, tc := range map[string]struct {
		flags uint32
		send  []byte
		log   string
	}{
		"unknown flags": {flags: 0x100, log: "unknown client flags"},
		"bad magic":     {flags: 3, send: bytes.Repeat([]byte{0x41}, 16), log: "option has magic"},
		"huge option":   {flags: 3, send: option(7, nil)[:12:12], log: "option of 4294967295 bytes"},
		"no export":     {flags: 3, send: option(optExportName, []byte("nope")), log: "no such export"},
		"silence":       {flags: 3, log: "timeout"},
		"endless":       {flags: 3, send: bytes.Repeat(option(77, nil), maxOptions+1), log: "more than 128 options"},
	} {
		t.Run(name, func(t *testing.T) {
			if strings.HasPrefix(name, "huge") {
				tc.send = append(tc.send, 0xff, 0xff, 0xff, 0xff)
			}
			c := sv.dial(t)
			c.hello(tc.flags)
			c.nc.Write(tc.send)
			c.gone()
			if !sv.log.has(tc.log) {
				t.Errorf("the log does not say %q:\n%s", tc.log, sv.log.b.String())
			}
		})
	}
	var cs []*client
	for range 4 {
		cs = append(cs, sv.client(t, ""))
	}
	sv.dial(t).gone() // one too many
	if errno, _ := cs[0].do(0, cmdWrite, 0, 512, make([]byte, 512)); errno != 0 {
		t.Errorf("a client that was there first: %d", errno)
	}
}

// TestErrorsStayInSync sends what must be refused and checks that the next
// request is still understood.
func TestErrorsStayInSync(t *testing.T) {
	const size = 64 << 20
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, size))
	c := sv.client(t, "d1")
	for _, tc := range []struct {
		name    string
		flags   uint16
		typ     uint16
		off     uint64
		len     uint32
		payload int
		errno   uint32
	}{
		{"read over the end", 0, cmdRead, size - 512, 1024, 0, errInval},
		{"read far out", 0, cmdRead, 1<<64 - 512, 1024, 0, errInval},
		{"read too long", 0, cmdRead, 0, MaxPayload + 1, 0, errInval},
		{"write over the end", 0, cmdWrite, size - 512, 1024, 1024, errNoSpace},
		{"write that wraps", 0, cmdWrite, 1<<64 - 512, 1024, 1024, errNoSpace},
		{"write too long", 0, cmdWrite, 0, MaxPayload + 4096, MaxPayload + 4096, errInval},
		{"write with unknown flag", 1 << 9, cmdWrite, 0, 512, 512, errInval},
		{"trim over the end", 0, cmdTrim, size - 512, 1024, 0, errInval},
		{"zeroes over the end", 0, cmdWriteZeroes, size, 1, 0, errNoSpace},
		{"unknown command", 0, 99, 0, 0, 0, errInval},
		{"cache over the end", 0, cmdCache, size - 512, 1024, 0, errInval},
		{"cache", 0, cmdCache, 512, 4096, 0, 0},
		{"cache nothing", 0, cmdCache, 512, 0, 0, 0},
		{"block status without a context", 0, cmdBlockStatus, 0, 4096, 0, errInval},
		{"flush with unknown flag", 1 << 5, cmdFlush, 0, 0, 0, errInval},
		{"empty write", 0, cmdWrite, 512, 0, 0, 0},
		{"empty read", 0, cmdRead, size, 0, 0, 0},
		{"empty trim", 0, cmdTrim, 512, 0, 0, 0},
		{"longest write", cmdFlagFUA, cmdWrite, 0, MaxPayload, MaxPayload, 0},
		{"longest read", 0, cmdRead, 0, MaxPayload, 0, 0},
	} {
		errno, _ := c.do(tc.flags, tc.typ, tc.off, tc.len, bytes.Repeat([]byte{5}, tc.payload))
		if errno != tc.errno {
			t.Errorf("%s: error %d, want %d", tc.name, errno, tc.errno)
		}
		if errno, data := c.do(0, cmdRead, 4096, 512, nil); errno != 0 || len(data) != 512 {
			t.Fatalf("%s: the next request got %d", tc.name, errno)
		}
	}
	c.send(bytes.Repeat([]byte{0x11}, requestLen))
	c.gone()
	if !sv.log.has("request without the magic number") {
		t.Error("the reason was not logged")
	}
}

func TestReadOnlyExports(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10)
	sv := serve(t, ServerOptions{}, r)
	if err := sv.s.Add(Export{Name: "ro", Volume: r.g.Volumes()[0], ReadOnly: true}); err != nil {
		t.Fatal(err)
	}
	ro, rw := sv.client(t, "ro"), sv.client(t, "d1")
	if ro.flags&flagReadOnly == 0 || rw.flags&flagReadOnly != 0 {
		t.Errorf("flags %#x of the read-only export, %#x of the other", ro.flags, rw.flags)
	}
	block := bytes.Repeat([]byte{1}, 1024)
	refused := func(c *client) {
		t.Helper()
		for _, typ := range []uint16{cmdWrite, cmdTrim, cmdWriteZeroes} {
			p := block
			if typ != cmdWrite {
				p = nil
			}
			for _, off := range []uint64{0, 3} {
				if errno, _ := c.do(0, typ, off, 1024, p); errno != errPerm {
					t.Errorf("command %d: error %d", typ, errno)
				}
			}
		}
		if errno, _ := c.do(0, cmdFlush, 0, 0, nil); errno != 0 {
			t.Errorf("flush: %d", errno)
		}
	}
	refused(ro)
	if errno, _ := rw.do(0, cmdWrite, 0, 1024, block); errno != 0 {
		t.Errorf("write: %d", errno)
	}
	r.g.SetReadOnly(redoubt.ErrFenced)
	refused(rw)
	if c := sv.client(t, "d1"); c.flags&flagReadOnly == 0 {
		t.Error("a new client is not told that the disk is read-only")
	}
	r.g.SetReadOnly(nil)
	if errno, _ := rw.do(0, cmdWrite, 0, 1024, block); errno != 0 {
		t.Errorf("write again: %d", errno)
	}
}

// TestPipelined keeps many requests of all kinds in flight on several
// connections, each on its own part of the disk, and checks every read.
func TestPipelined(t *testing.T) {
	for name, interval := range map[string]time.Duration{"busy applier": 200 * time.Microsecond, "idle applier": time.Hour} {
		t.Run(name, func(t *testing.T) { pipelined(t, interval, 0) })
	}
	t.Run("no memory for reads", func(t *testing.T) { pipelined(t, 200*time.Microsecond, 1) })
}

func pipelined(t *testing.T, interval time.Duration, readMemory int64) {
	const part, conns, ops = 1 << 20, 4, 1500
	sv := serve(t, ServerOptions{SlowReads: 3, ReadMemory: readMemory}, newRig(t, GroupOptions{ApplyInterval: interval}, nil, conns*part))
	rng := seeded.Rand(t)
	var wg sync.WaitGroup
	for k := range conns {
		own := rand.New(rand.NewPCG(rng.Uint64(), 0))
		c := sv.client(t, "d1")
		wg.Go(func() { pipeline(c, own, uint64(k)*part, part, ops) })
	}
	wg.Wait()
	s := sv.g.Stats().Disks[0]
	if s.Errors != 0 || s.Writes == 0 || s.Unaligned == 0 || s.Flushes == 0 || s.SlowReads == 0 {
		t.Errorf("stats %+v", s)
	}
	if h := sv.j.Stats(); h.Batches == 0 || h.Records < h.Batches {
		t.Errorf("journal %+v", h)
	} else {
		t.Logf("%d records in %d batches", h.Records, h.Batches)
	}
}

// pipeline sends bursts of requests that do not overlap within the burst, and
// then reads their answers in whatever order they come.
func pipeline(c *client, rng *rand.Rand, base, size uint64, ops int) {
	model := make([]byte, size)
	for ops > 0 {
		type wait struct{ want []byte }
		waits := map[uint64]wait{}
		var out []byte
		var answers int
		at := uint64(0)
		for at < size-600_000 && len(waits) < 64 {
			at += uint64(rng.IntN(8)) * 512
			n := uint64(1+rng.IntN(16)) * 512
			if rng.IntN(40) == 0 {
				n = uint64(rng.IntN(600_000))
			}
			if rng.IntN(20) == 0 {
				at, n = at+uint64(rng.IntN(512)), n+uint64(rng.IntN(512))
			}
			if at+n+1024 > size {
				break
			}
			var flags uint16
			if rng.IntN(50) == 0 {
				flags = cmdFlagFUA
			}
			cookie, m := rng.Uint64(), model[at:at+n]
			switch rng.IntN(10) {
			case 0:
				out = append(out, header(flags, cmdTrim, cookie, base+at, uint32(n))...)
				clear(m)
			case 1:
				out = append(out, header(flags|cmdFlagNoHole, cmdWriteZeroes, cookie, base+at, uint32(n))...)
				clear(m)
			case 2:
				out = append(out, header(0, cmdFlush, cookie, 0, 0)...)
			case 3, 4, 5, 6:
				for i := range m {
					m[i] = byte(rng.Uint32())
				}
				out = append(append(out, header(flags, cmdWrite, cookie, base+at, uint32(n))...), m...)
			default:
				out = append(out, header(0, cmdRead, cookie, base+at, uint32(n))...)
				waits[cookie] = wait{bytes.Clone(m)}
				at = (at + n + 511) &^ 511 // an unaligned write rewrites whole sectors
				continue
			}
			waits[cookie] = wait{}
			at = (at + n + 511) &^ 511
		}
		go c.nc.Write(out)
		for answers = range len(waits) {
			var h protocol.TransmissionReplyHeader
			if err := binary.Read(c.nc, binary.BigEndian, &h); err != nil {
				c.t.Error(err)
				return
			}
			w, ok := waits[h.Handle]
			if !ok || h.Error != 0 {
				c.t.Errorf("answer %d: %+v", answers, h)
				return
			}
			delete(waits, h.Handle)
			got := make([]byte, len(w.want))
			if _, err := io.ReadFull(c.nc, got); err != nil || !bytes.Equal(got, w.want) {
				c.t.Errorf("read of %d bytes: %v, %s", len(got), err, differ(got, w.want))
				return
			}
			ops--
		}
	}
}

// TestFlushCoversAllConnections is what CAN_MULTI_CONN promises.
func TestFlushCoversAllConnections(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil, 64<<10, 64<<10))
	a, b := sv.client(t, "d1"), sv.client(t, "d1")
	if a.flags&flagMultiConn == 0 {
		t.Fatal("CAN_MULTI_CONN is not offered")
	}
	for i := range 30 { // less than a segment: its seal would sync
		block := bytes.Repeat([]byte{byte(i + 1)}, 512)
		for range 2 { // so that a is not taken for one who flushes behind each write
			if errno, _ := a.do(0, cmdWrite, 512, 512, block); errno != 0 {
				t.Fatal(errno)
			}
		}
		head := sv.j.Head().LSN
		if errno, data := b.do(0, cmdRead, 512, 512, nil); errno != 0 || !bytes.Equal(data, block) {
			t.Fatalf("the other connection reads something else (%d)", errno)
		}
		if d := sv.j.Durable(); d >= head {
			t.Fatalf("LSN %d is durable already (%d): the test does not test", head, d)
		}
		if errno, _ := b.do(0, cmdFlush, 0, 0, nil); errno != 0 {
			t.Fatal(errno)
		}
		if d := sv.j.Durable(); d < head {
			t.Fatalf("flush on another connection left LSN %d undurable (%d)", head, d)
		}
		if errno, _ := a.do(cmdFlagFUA, cmdWrite, 512, 512, block); errno != 0 || sv.j.Durable() < head+1 {
			t.Fatalf("FUA: %d, durable %d", errno, sv.j.Durable())
		}
	}
}

func TestBlockStatusAndStructuredReads(t *testing.T) {
	path := newImage(t, 1<<30)
	im, err := OpenImage(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, GroupOptions{}, nil)
	r.g.abandon()
	if r.g, err = OpenGroup(r.j, []Member{{redoubt.Disk{ID: 1, Name: "d1", Size: 1 << 30}, im}}, GroupOptions{}); err != nil {
		t.Fatal(err)
	}
	sv := serve(t, ServerOptions{}, r)
	v := r.g.Volumes()[0]
	if _, ok := v.NextData(0); ok {
		t.Skip("the file system does not tell its holes")
	}
	if err := v.Write(bytes.Repeat([]byte{9}, 8192), 1<<20, false); err != nil {
		t.Fatal(err)
	}
	c := sv.dial(t)
	c.hello(3)
	meta := binary.BigEndian.AppendUint32(nil, 2)
	meta = append(meta, "d1\x00\x00\x00\x01\x00\x00\x00\x0fbase:allocation"...)
	if typ, _ := c.option(optSetMeta, meta); typ != repErrInvalid {
		t.Errorf("context without structured replies: %#x", typ)
	}
	if typ, _ := c.option(optStructured, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Fatalf("structured replies: %#x", typ)
	}
	if typ, infos := c.option(optSetMeta, meta); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK || len(infos) != 1 || string(infos[0]) != "\x00\x00\x00\x01base:allocation" {
		t.Fatalf("context: %#x %q", typ, infos)
	}
	if typ, _ := c.option(protocol.NEGOTIATION_ID_OPTION_GO, goData("d1")); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Fatalf("go: %#x", typ)
	}
	chunk := func() (typ uint16, body []byte) {
		t.Helper()
		h := make([]byte, structuredLen)
		if _, err := io.ReadFull(c.nc, h); err != nil {
			t.Fatal(err)
		}
		if binary.BigEndian.Uint32(h) != magicStructured || binary.BigEndian.Uint16(h[4:]) != chunkDone || binary.BigEndian.Uint64(h[8:]) != 7 {
			t.Fatalf("chunk %x", h)
		}
		body = make([]byte, binary.BigEndian.Uint32(h[16:]))
		if _, err := io.ReadFull(c.nc, body); err != nil {
			t.Fatal(err)
		}
		return binary.BigEndian.Uint16(h[6:]), body
	}
	c.send(header(0, cmdBlockStatus, 7, 0, 1<<30))
	typ, body := chunk()
	want := []uint32{1, 1 << 20, 3, 8192, 0, 1<<30 - 1<<20 - 8192, 3}
	var got []uint32
	for ; len(body) > 0; body = body[4:] {
		got = append(got, binary.BigEndian.Uint32(body))
	}
	if typ != chunkStatus || len(got) != len(want) || got[1] != want[1] || got[3] != want[3] || got[6] != 3 {
		t.Errorf("status %d %v, want %v", typ, got, want)
	}
	c.send(header(cmdFlagReqOne, cmdBlockStatus, 7, 1<<20, 1<<20))
	if typ, body := chunk(); typ != chunkStatus || len(body) != 12 {
		t.Errorf("one: %d %x", typ, body)
	}
	for _, n := range []uint32{512, 1 << 20} { // on the reader loop, and off it
		c.send(header(cmdFlagDF, cmdRead, 7, 1<<20, n))
		typ, body = chunk()
		if typ != chunkOffsetData || len(body) != 8+int(n) || binary.BigEndian.Uint64(body) != 1<<20 || body[8] != 9 {
			t.Errorf("read: %d, %d bytes", typ, len(body))
		}
	}
	// Without DF a long answer comes in pieces, in order, the last marked.
	c.send(header(0, cmdRead, 7, 1<<20-100, 1<<20))
	at := uint64(1<<20 - 100)
	for chunks := 1; ; chunks++ {
		h := make([]byte, structuredLen)
		if _, err := io.ReadFull(c.nc, h); err != nil {
			t.Fatal(err)
		}
		body := make([]byte, binary.BigEndian.Uint32(h[16:]))
		if _, err := io.ReadFull(c.nc, body); err != nil {
			t.Fatal(err)
		}
		if binary.BigEndian.Uint16(h[6:]) != chunkOffsetData || binary.BigEndian.Uint64(body) != at || len(body) > 8+inlineRead {
			t.Fatalf("chunk %x of %d bytes", h, len(body))
		}
		if chunks == 1 && !bytes.Equal(body[8:8+8400], slices.Concat(make([]byte, 100), bytes.Repeat([]byte{9}, 8192), make([]byte, 108))) {
			t.Error("the content differs")
		}
		at += uint64(len(body) - 8)
		if binary.BigEndian.Uint16(h[4:]) == chunkDone {
			if chunks != 4 || at != 2<<20-100 {
				t.Errorf("%d chunks to %d", chunks, at)
			}
			break
		}
	}
	c.send(header(0, cmdRead, 7, 1<<30, 512))
	if typ, body = chunk(); typ != chunkError || binary.BigEndian.Uint32(body) != errInval {
		t.Errorf("bad read: %d %x", typ, body)
	}
}

func TestRemoveAndClose(t *testing.T) {
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 64<<10, 64<<10))
	a, b := sv.client(t, "d1"), sv.client(t, "d2")
	if err := sv.s.Remove("d1"); err != nil {
		t.Fatal(err)
	}
	a.gone()
	if errno, _ := b.do(0, cmdRead, 0, 512, nil); errno != 0 {
		t.Errorf("the other export: %d", errno)
	}
	if _, err := negotiate(sv.dial(t).nc, "d1"); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("removed export: %v", err)
	}
	if err := sv.s.Remove("d1"); !errors.Is(err, redoubt.ErrNotFound) {
		t.Errorf("remove again: %v", err)
	}
	if err := sv.s.Add(Export{Name: "d2", Volume: sv.g.Volumes()[0]}); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("same name: %v", err)
	}
	if err := sv.s.Add(Export{Name: "../x", Volume: sv.g.Volumes()[0]}); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("bad name: %v", err)
	}
	sv.s.Close()
	b.gone()
	if n := sv.s.Conns(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}

func TestListenUnix(t *testing.T) {
	path := t.TempDir() + "/run/nbd"
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	for p, want := range map[string]os.FileMode{path: 0o600, t.TempDir(): 0} {
		if st, err := os.Stat(p); err != nil || want != 0 && st.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", p, st.Mode(), err)
		}
	}
	if _, err := ListenUnix(path); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("a socket in use: %v", err)
	}
	l.(interface{ SetUnlinkOnClose(bool) }).SetUnlinkOnClose(false)
	l.Close() // as a dead process leaves it
	if l, err = ListenUnix(path); err != nil {
		t.Fatalf("a stale socket: %v", err)
	}
	l.Close()
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := ListenUnix(path); !errors.Is(err, redoubt.ErrExists) {
		t.Errorf("a file: %v", err)
	}
	if _, err := ListenUnix("/" + strings.Repeat("x", 200)); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("long path: %v", err)
	}
}
