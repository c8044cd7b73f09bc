package lan

import (
	"os"
	"sync"
	"time"
)

// serve passes on what a host sends, until its port is closed.
func (l *LAN) serve(h *Host, mtu int) {
	frame := make([]byte, mtu+18)
	for {
		n, err := h.port.Read(frame)
		if err != nil {
			return
		}
		if n < 14 {
			continue
		}
		f := frame[:n]
		if to := int(f[5]) - 1; f[0] == 2 && to >= 0 && to < len(l.hosts) {
			l.ways[h.Index][to].pass(f)
			continue
		}
		for to := range l.hosts { // broadcast and multicast
			if to != h.Index {
				l.ways[h.Index][to].pass(f)
			}
		}
	}
}

// queueBytes is what waits at most on a slow way, as in a small switch; what
// comes on top is dropped.
const queueBytes = 256 << 10

// way is one direction between two hosts.
type way struct {
	out *os.File

	mu     sync.Mutex
	wake   *sync.Cond
	now    Way
	queue  []late
	queued int
	free   time.Time // when the last frame of the queue has left
	closed bool
}

type late struct {
	frame []byte
	due   time.Time
}

func newWay(out *os.File) *way {
	w := &way{out: out}
	w.wake = sync.NewCond(&w.mu)
	go w.drain()
	return w
}

func (w *way) set(s Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = s
	if s.Cut { // what is on its way is lost, too
		w.queue, w.queued, w.free = nil, 0, time.Time{}
	}
}

func (w *way) pass(frame []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.now
	switch {
	case s.Cut || w.closed:
		return
	case s.Delay == 0 && s.Rate == 0 && len(w.queue) == 0:
		w.send(frame)
		return
	case w.queued+len(frame) > queueBytes:
		return
	}
	t := time.Now()
	if w.free.Before(t) {
		w.free = t
	}
	if s.Rate > 0 {
		w.free = w.free.Add(time.Duration(len(frame)) * time.Second / time.Duration(s.Rate))
	}
	w.queue = append(w.queue, late{append([]byte(nil), frame...), w.free.Add(s.Delay)})
	w.queued += len(frame)
	w.wake.Signal()
}

// send is a wire: a host whose interface is down loses the frame.
func (w *way) send(frame []byte) { _, _ = w.out.Write(frame) }

// drain delivers the queue.
func (w *way) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for !w.closed {
		if len(w.queue) == 0 {
			w.wake.Wait()
			continue
		}
		if wait := time.Until(w.queue[0].due); wait > 0 {
			w.mu.Unlock()
			time.Sleep(wait)
			w.mu.Lock()
			continue // it may have been cut meanwhile
		}
		w.send(w.queue[0].frame)
		w.queued -= len(w.queue[0].frame)
		w.queue = w.queue[1:]
	}
}

func (w *way) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
	w.wake.Broadcast()
}
