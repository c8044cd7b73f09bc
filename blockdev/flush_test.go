package blockdev

import (
	"bytes"
	"errors"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// barrier is a file system whose syncs of segments wait while it is held, and
// then return fail.
type barrier struct {
	vfs.FS
	mu      sync.RWMutex
	fail    error
	entered atomic.Int64  // syncs that began
	step    chan struct{} // if not nil, each sync takes one of it; set before there are any
}

type barredFile struct {
	vfs.File
	b       *barrier
	batches atomic.Bool // were written: the sync of a new segment's header passes
}

func (b *barrier) OpenFile(name string, flag int, perm os.FileMode) (vfs.File, error) {
	f, err := b.FS.OpenFile(name, flag, perm)
	if err != nil || !strings.Contains(name, "seg-") {
		return f, err
	}
	return &barredFile{File: f, b: b}, nil
}

func (f *barredFile) WritevAt(bufs [][]byte, off int64) (int, error) {
	f.batches.Store(true)
	return f.File.WritevAt(bufs, off)
}

func (f *barredFile) Sync() error {
	if !f.batches.Load() {
		return f.File.Sync()
	}
	f.b.entered.Add(1)
	f.b.mu.RLock()
	defer f.b.mu.RUnlock()
	if f.b.step != nil {
		<-f.b.step
	}
	if f.b.fail != nil {
		return f.b.fail
	}
	return f.File.Sync()
}

// barred serves one disk over a barrier.
func barred(t *testing.T) (*served, *barrier) {
	t.Helper()
	b := new(barrier)
	r := &rig{fs: vfs.NewMem(), o: GroupOptions{ApplyInterval: time.Hour}, disks: []*memBacking{newMemBacking(64<<10, nil)},
		over: func(fs vfs.FS) vfs.FS { b.FS = fs; return b }}
	r.open(t)
	return serve(t, ServerOptions{}, r), b
}

const (
	someFlush = iota + 1
	write1
	write2
	flush1
	flush2
)

// request sends a request without waiting for its answer.
func (c *client) request(cookie uint64) {
	c.t.Helper()
	switch cookie {
	case write1, write2:
		c.send(header(0, cmdWrite, cookie, 512*cookie, 512), bytes.Repeat([]byte{byte(cookie)}, 512))
	default:
		c.send(header(0, cmdFlush, cookie, 0, 0))
	}
}

// want takes the answers to cookies, in any order.
func (c *client) want(errno uint32, cookies ...uint64) {
	c.t.Helper()
	for len(cookies) > 0 {
		got, e, _ := c.answer(0)
		i := slices.Index(cookies, got)
		if i < 0 || e != errno {
			c.t.Fatalf("answer to %d with error %d, want %d with %d", got, e, cookies, errno)
		}
		cookies = slices.Delete(cookies, i, i+1)
	}
}

// busy makes the server see that the client goes on while it waits for a flush.
func (c *client) busy(b *barrier) {
	c.t.Helper()
	b.mu.Lock()
	c.request(write1)
	c.want(0, write1)
	was := b.entered.Load()
	c.request(someFlush)
	for b.entered.Load() == was {
		runtime.Gosched()
	}
	c.request(write2)
	b.mu.Unlock()
	c.want(0, someFlush, write2)
}

// A sync answers every flush that came before it began, also one that came after
// its connection began to wait: what others write during it is not waited for.
func TestFlushWaitsForOneSync(t *testing.T) {
	sv, b := barred(t)
	c := sv.client(t, "d1")
	conn := sv.only(t)
	c.busy(b)
	other, third := sv.client(t, "d1"), sv.client(t, "d1")
	other.request(write1)
	other.want(0, write1)
	b.step = make(chan struct{})
	defer close(b.step)
	was := b.entered.Load()
	other.request(someFlush)
	eventually(t, "the sync of another client", func() bool { return b.entered.Load() == was+1 })
	c.request(write1)
	c.request(flush1)
	c.want(0, write1)
	c.request(write2)
	c.request(flush2)
	c.want(0, write2)
	waiting := func(n int) func() bool {
		return func() bool {
			conn.syncs.mu.Lock()
			defer conn.syncs.mu.Unlock()
			return len(conn.syncs.waiting) == n
		}
	}
	eventually(t, "both flushes wait", waiting(2))
	b.step <- struct{}{}
	other.want(0, someFlush)
	eventually(t, "the sync for both", func() bool { return b.entered.Load() == was+2 })
	third.request(write1)
	third.want(0, write1)
	b.step <- struct{}{}
	eventually(t, "both flushes are answered", waiting(0))
	c.want(0, flush1, flush2)
	if n := b.entered.Load() - was; n != 2 || sv.j.Durable() == sv.j.Head().LSN {
		t.Errorf("%d syncs, durable up to %d of %d", n, sv.j.Durable(), sv.j.Head().LSN)
	}
}

// A client that does not wait for its flush gets its other answers meanwhile,
// and one sync serves all flushes that came before it.
func TestFlushHoldsNobodyUp(t *testing.T) {
	sv, b := barred(t)
	c := sv.client(t, "d1")
	for range 3 * aheadMost { // also over the times when it is looked again
		c.busy(b)
	}
	b.mu.Lock()
	c.request(write1)
	c.request(flush1)
	c.want(0, write1)
	c.request(write2)
	c.request(flush2)
	c.want(0, write2)
	head := sv.j.Head().LSN
	if sv.j.Durable() >= head {
		t.Fatal("nothing waits: the test does not test")
	}
	b.mu.Unlock()
	c.want(0, flush1, flush2)
	if d := sv.j.Durable(); d < head {
		t.Errorf("durable up to %d, flushed up to %d", d, head)
	}
}

func TestFlushBesideTheLoopFails(t *testing.T) {
	sv, b := barred(t)
	c := sv.client(t, "d1")
	c.busy(b)
	b.mu.Lock()
	c.request(write1)
	c.request(flush1)
	c.want(0, write1)
	b.fail = errors.New("gone")
	b.mu.Unlock()
	c.want(uint32(syscall.EIO), flush1)
	c.request(write2)
	c.want(uint32(syscall.EIO), write2)
	sv.kill() // nothing can be applied any more
	b.fail = nil
	sv.open(t)
}

// Flushes without end that nobody answers must not take memory without end.
func TestFlushesAreBounded(t *testing.T) {
	sv, b := barred(t)
	c := sv.client(t, "d1")
	c.busy(b)
	b.mu.Lock()
	c.request(write1)
	c.want(0, write1)
	const n = 3 * mostSyncs
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range n {
			c.request(flush1)
		}
	}()
	conn := sv.only(t)
	for full := false; !full; runtime.Gosched() { // until the reader loop waits
		conn.syncs.mu.Lock()
		full = len(conn.syncs.waiting) >= mostSyncs
		conn.syncs.mu.Unlock()
	}
	b.mu.Unlock()
	for range n {
		c.want(0, flush1)
	}
	<-sent
	conn.syncs.mu.Lock()
	defer conn.syncs.mu.Unlock()
	if most := cap(conn.syncs.waiting); most > 2*(mostSyncs+batchWrites) {
		t.Errorf("room for %d answers", most)
	}
}

// To a client that flushes behind each write the flush is done when it comes.
func TestSyncAhead(t *testing.T) {
	sv, _ := barred(t)
	c := sv.client(t, "d1")
	for range pairsMost {
		c.request(write1)
		c.want(0, write1)
		c.request(flush1)
		c.want(0, flush1)
	}
	c.request(write1)
	c.want(0, write1)
	head := sv.j.Head().LSN
	eventually(t, "durable before the flush", func() bool { return sv.j.Durable() >= head })
}
