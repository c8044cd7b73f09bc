package systest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// powerDisk is a disk with a volatile cache, served over NBD on a unix socket:
// a write is in the cache until the next FLUSH. A picture of it is what a power
// cut at that moment may leave. It shares no code with the product. All
// methods may be called concurrently.
type powerDisk struct {
	l  net.Listener
	wg sync.WaitGroup

	mu      sync.Mutex
	now     []byte      // what readers see
	stable  []byte      // what the last flush made durable
	cache   []diskWrite // since then, in order
	writes  int64
	flushes int64
	due     int64  // the write after which trigger is called; 0: none
	trigger func() // called with mu held
	ordered bool   // a power cut keeps a beginning of the cache, if any; set before use
}

type diskWrite struct {
	off  int64
	data []byte
}

// newPowerDisk serves a disk with this content at a socket.
func newPowerDisk(socket string, content []byte) (*powerDisk, error) {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	d := &powerDisk{l: l, now: content, stable: append([]byte(nil), content...)}
	d.wg.Add(1)
	go func() {
		defer d.wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.wg.Add(1)
			go func() {
				defer d.wg.Done()
				defer c.Close()
				// The client sees what is wrong, and the test with it.
				_ = d.serve(c)
			}()
		}
	}()
	return d, nil
}

// close ends the server; its clients have gone before.
func (d *powerDisk) close() {
	d.l.Close()
	d.wg.Wait()
}

func (d *powerDisk) write(off int64, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(d.now[off:], p)
	d.cache = append(d.cache, diskWrite{off, append([]byte(nil), p...)})
	d.writes++
	if d.due > 0 && d.writes >= d.due {
		d.due = 0
		d.trigger()
	}
}

func (d *powerDisk) flush() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, w := range d.cache {
		copy(d.stable[w.off:], w.data)
	}
	d.cache = nil
	d.flushes++
}

func (d *powerDisk) read(off int64, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(p, d.now[off:])
}

// after makes fn happen between two requests, after n more writes. fn may use
// picture.
func (d *powerDisk) after(n int64, fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.due, d.trigger = d.writes+n, fn
}

// locked calls fn between two requests.
func (d *powerDisk) locked(fn func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	fn()
}

// picture writes to a new file what a power cut may leave now: everything that
// was flushed, and of the cache nothing, a beginning, some requests or some
// sectors. The caller holds d.mu, by after or locked.
func (d *powerDisk) picture(path string, rng *rand.Rand) (how string, err error) {
	got := append([]byte(nil), d.stable...)
	mode, upTo := rng.IntN(4), rng.IntN(len(d.cache)+1)
	if d.ordered {
		mode %= 2
	}
	kept := 0
	for i, w := range d.cache {
		for p := 0; p < len(w.data); {
			e := len(w.data)
			if mode == 3 {
				e = min(e, p+512)
			}
			if mode == 1 && i < upTo || mode > 1 && rng.IntN(2) == 0 {
				copy(got[w.off+int64(p):], w.data[p:e])
				kept += e - p
			}
			p = e
		}
	}
	how = fmt.Sprintf("%d writes in the cache, kept %s: %d bytes", len(d.cache), [...]string{"none", "the first", "some requests", "some sectors"}[mode], kept)
	f, err := os.Create(path)
	if err != nil {
		return how, err
	}
	_, err = (&oracle.SparseWriter{F: f}).Write(got)
	return how, errors.Join(err, f.Truncate(int64(len(got))), f.Close())
}

const (
	nbdFlush     = 3
	nbdFlagFlush = 1 << 2
	nbdMaxLen    = 32 << 20
)

var errNBD = errors.New("not the NBD protocol")

// serve speaks with one client: fixed newstyle, READ, WRITE, FLUSH.
func (d *powerDisk) serve(c net.Conn) error {
	r := bufio.NewReaderSize(c, 64<<10)
	be := binary.BigEndian
	hello := be.AppendUint64(nil, protocol.NEGOTIATION_MAGIC_OLDSTYLE)
	hello = be.AppendUint64(hello, protocol.NEGOTIATION_MAGIC_OPTION)
	if _, err := c.Write(be.AppendUint16(hello, protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE)); err != nil {
		return err
	}
	var flags [4]byte
	if _, err := io.ReadFull(r, flags[:]); err != nil {
		return err
	}
	for ready := false; !ready; {
		var err error
		if ready, err = d.option(c, r); err != nil {
			return err
		}
	}
	buf := make([]byte, 0, 1<<20)
	for {
		var h [28]byte
		if _, err := io.ReadFull(r, h[:]); err != nil {
			return err
		}
		typ, off, n := be.Uint16(h[6:]), be.Uint64(h[16:]), be.Uint32(h[24:])
		if be.Uint32(h[:]) != protocol.TRANSMISSION_MAGIC_REQUEST || n > nbdMaxLen || off+uint64(n) > uint64(len(d.stable)) {
			return errNBD
		}
		if cap(buf) < int(n)+16 {
			buf = make([]byte, 0, n+16)
		}
		out := be.AppendUint32(buf[:0], protocol.TRANSMISSION_MAGIC_REPLY)
		out = be.AppendUint32(out, 0)
		out = append(out, h[8:16]...)
		switch typ {
		case protocol.TRANSMISSION_TYPE_REQUEST_READ:
			out = out[:16+n]
			d.read(int64(off), out[16:])
		case protocol.TRANSMISSION_TYPE_REQUEST_WRITE:
			p := out[16 : 16+n]
			if _, err := io.ReadFull(r, p); err != nil {
				return err
			}
			d.write(int64(off), p)
		case nbdFlush:
			d.flush()
		default: // a goodbye, or what was not offered
			return nil
		}
		if _, err := c.Write(out); err != nil {
			return err
		}
	}
}

// option answers one option; ready means that the requests begin.
func (d *powerDisk) option(c net.Conn, r io.Reader) (ready bool, err error) {
	be := binary.BigEndian
	var h [16]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return false, err
	}
	opt, n := be.Uint32(h[8:]), be.Uint32(h[12:])
	if be.Uint64(h[:]) != protocol.NEGOTIATION_MAGIC_OPTION || n > 4096 {
		return false, errNBD
	}
	if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
		return false, err
	}
	reply := func(typ uint32, body []byte) {
		b := be.AppendUint64(nil, protocol.NEGOTIATION_MAGIC_REPLY)
		b = be.AppendUint32(b, opt)
		b = be.AppendUint32(b, typ)
		b = be.AppendUint32(b, uint32(len(body)))
		if err == nil {
			_, err = c.Write(append(b, body...))
		}
	}
	if opt != protocol.NEGOTIATION_ID_OPTION_GO {
		reply(protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED, nil)
		return false, err
	}
	info := be.AppendUint16(nil, protocol.NEGOTIATION_TYPE_INFO_EXPORT)
	info = be.AppendUint64(info, uint64(len(d.stable)))
	reply(protocol.NEGOTIATION_TYPE_REPLY_INFO, be.AppendUint16(info, protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS|nbdFlagFlush))
	reply(protocol.NEGOTIATION_TYPE_REPLY_ACK, nil)
	return true, err
}
