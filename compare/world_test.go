package compare

import (
	"context"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noErr(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

type block = [LeafSize]byte

// content is blocks of disks; those that are not there are zeros.
type content map[redoubt.DiskID]map[uint64]*block

func (c content) clone() content {
	out := content{}
	for d, m := range c {
		out[d] = maps.Clone(m)
	}
	return out
}

func (c content) write(w redoubt.Write) {
	for off := w.Extent.Off; off < w.Extent.End(); {
		n := off / LeafSize
		b := new(block)
		if old := c[w.Disk][n]; old != nil {
			*b = *old
		}
		end := min(w.Extent.End(), (n+1)*LeafSize)
		copy(b[off%LeafSize:], w.Data[off-w.Extent.Off:end-w.Extent.Off])
		c[w.Disk][n] = b
		off = end
	}
}

func (c content) read(d redoubt.DiskID, p []byte, off uint64) {
	clear(p)
	for at := off; at < off+uint64(len(p)); {
		n := at / LeafSize
		if b := c[d][n]; b != nil {
			copy(p[at-off:], b[at%LeafSize:])
		}
		at = (n + 1) * LeafSize
	}
}

// next finds data block by block.
func (c content) next(d redoubt.DiskID, from, size uint64) (redoubt.Extent, bool) {
	for n := from / LeafSize; n*LeafSize < size; n++ {
		if c[d][n] != nil {
			off := max(from, n*LeafSize)
			return redoubt.Extent{Off: off, Len: min(size, (n+1)*LeafSize) - off}, true
		}
	}
	return redoubt.Extent{}, false
}

// world is both sites in memory: a source that is written to, and a secondary
// that lags behind. It is Disks, Writes and Store.
type world struct {
	t     *testing.T
	disks []redoubt.Disk
	addr  string

	mu        sync.Mutex
	now       content
	log       []redoubt.Write // all writes; LSN i is at i-1
	held      redoubt.LSN     // writes up to it may be forgotten
	committed redoubt.LSN
	there     content // the secondary's blocks at committed
	spoilt    func(content)
	notes     []Record
	reads     int
	onRead    func(n int) // runs before the secondary's n-th read
	onLocal   func()      // runs before and after each read of the source
}

func newWorld(t *testing.T, sizes ...uint64) *world {
	w := &world{t: t, now: content{}, there: content{}}
	for i, s := range sizes {
		d := redoubt.Disk{ID: redoubt.DiskID(i + 1), Name: string(rune('a' + i)), Size: s}
		w.disks = append(w.disks, d)
		w.now[d.ID], w.there[d.ID] = map[uint64]*block{}, map[uint64]*block{}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	noErr(t, err)
	w.addr = l.Addr().String()
	srv := NewServer(w, slog.New(slog.DiscardHandler))
	done := make(chan error)
	go func() { done <- srv.Serve(named{l}) }()
	t.Cleanup(func() {
		noErr(t, srv.Close())
		noErr(t, <-done)
	})
	return w
}

// named gives connections the identity of a source.
type named struct{ net.Listener }

type namedConn struct{ net.Conn }

func (namedConn) Identity() pki.Identity { return pki.Identity{Role: pki.RoleSource, Name: "s1"} }

func (n named) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return namedConn{c}, nil
}

// write writes at random places of the first n bytes of each disk.
func (w *world) write(rng *rand.Rand, count int, within uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range count {
		d := w.disks[rng.IntN(len(w.disks))]
		size := min(within, d.Size)
		off := rng.Uint64N(size/512) * 512
		n := min(size-off, 512*(1+rng.Uint64N(24)))
		data := make([]byte, n)
		for i := range data {
			data[i] = byte(rng.Uint32())
		}
		x := redoubt.Write{LSN: redoubt.LSN(len(w.log) + 1), Disk: d.ID, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: off, Len: n}, Data: data}
		w.now.write(x)
		w.log = append(w.log, x)
	}
}

// grow makes the first disk larger and writes n bytes at off.
func (w *world) grow(size, off, n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.disks = slices.Clone(w.disks)
	w.disks[0].Size = size
	x := redoubt.Write{LSN: redoubt.LSN(len(w.log) + 1), Disk: w.disks[0].ID, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: off, Len: n}, Data: make([]byte, n)}
	for i := range x.Data {
		x.Data[i] = 0xa5
	}
	w.now.write(x)
	w.log = append(w.log, x)
}

// ship commits what was written, except for the last few.
func (w *world) ship(lag int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for int(w.committed) < len(w.log)-lag {
		w.there.write(w.log[w.committed])
		w.committed++
	}
}

func (w *world) options() Options {
	return Options{Group: "g", UUID: "u", Names: func() []redoubt.Disk { return w.disks }, Disks: w, Writes: w, Now: time.Now}
}

func (w *world) verify(ctx context.Context, o Options) (Record, error) {
	conn, err := net.Dial("tcp", w.addr)
	noErr(w.t, err)
	c, err := NewClient(ctx, conn)
	if err != nil {
		return Record{}, err
	}
	defer c.Close()
	return Verify(ctx, c, o)
}

// ReadCurrent implements Disks. Writers are at work before and after.
func (w *world) ReadCurrent(d redoubt.DiskID, p []byte, off uint64) error {
	if w.onLocal != nil {
		w.onLocal()
	}
	w.mu.Lock()
	w.now.read(d, p, off)
	w.mu.Unlock()
	if w.onLocal != nil {
		w.onLocal()
	}
	return nil
}

func (w *world) NextData(d redoubt.DiskID, from uint64) (redoubt.Extent, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now.next(d, from, w.disks[d-1].Size)
}

func (w *world) Hold(lsn redoubt.LSN) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = max(w.held, lsn)
	return nil
}

func (w *world) Since(lsn redoubt.LSN, fn func(redoubt.DiskID, redoubt.Extent)) (redoubt.LSN, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if lsn < w.held {
		w.t.Errorf("asked for what follows %d, and let everything up to %d go", lsn, w.held)
	}
	for _, x := range w.log[lsn:] {
		fn(x.Disk, x.Extent)
	}
	return redoubt.LSN(len(w.log)), nil
}

func (w *world) Newest() redoubt.Position {
	w.mu.Lock()
	defer w.mu.Unlock()
	return redoubt.Position{Epoch: 1, LSN: redoubt.LSN(len(w.log))}
}

// OpenImage implements Store.
func (w *world) OpenImage(_ context.Context, peer pki.Identity, a Ask) (Image, error) {
	if peer.Name != "s1" || a.Group != "g" || a.UUID != "u" {
		return nil, redoubt.ErrDenied
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	im := &image{w: w, at: w.committed, is: w.there.clone(), disks: slices.Clone(w.disks)}
	if w.spoilt != nil {
		w.spoilt(im.is)
	}
	return im, nil
}

func (w *world) Note(_ context.Context, _ pki.Identity, _ redoubt.GroupID, r Record) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.notes = append(w.notes, r)
	return nil
}

type image struct {
	w     *world
	at    redoubt.LSN
	is    content
	disks []redoubt.Disk
}

func (i *image) Position() redoubt.Position { return redoubt.Position{Epoch: 1, LSN: i.at} }
func (i *image) Disks() []redoubt.Disk      { return i.disks }
func (i *image) Close() error               { return nil }

func (i *image) NextData(d redoubt.DiskID, from uint64) (redoubt.Extent, bool, error) {
	e, ok := i.is.next(d, from, i.disks[d-1].Size)
	return e, ok, nil
}

func (i *image) Read(_ context.Context, d redoubt.DiskID, p []byte, off uint64) error {
	i.w.mu.Lock()
	i.w.reads++
	n, fn := i.w.reads, i.w.onRead
	i.w.mu.Unlock()
	if fn != nil {
		fn(n)
	}
	i.is.read(d, p, off)
	return nil
}
