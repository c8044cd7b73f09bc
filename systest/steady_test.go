package systest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// steady is a client that cannot connect again. It writes, reads and flushes
// one request after the other and knows what every block must hold; each answer
// is timed.
type steady struct {
	b      *bed
	c      *oracle.Client
	first  uint64   // block of the disk; nobody else has written from there on
	blocks []uint64 // the serial number that each holds
	stop   chan struct{}
	done   chan error

	mu    sync.Mutex
	worst time.Duration // since last asked
	calls int
}

const steadyBlock = 4096

// newSteady begins with a disk of the source.
func (b *bed) newSteady(disk string, blocks int) *steady {
	b.Helper()
	c, err := oracle.Dial(b.ctx, b.socket(), disk)
	b.must(err)
	return b.steady(c, 0, blocks)
}

func (b *bed) steady(c *oracle.Client, first uint64, blocks int) *steady {
	s := &steady{b: b, c: c, first: first, blocks: make([]uint64, blocks), stop: make(chan struct{}), done: make(chan error, 1)}
	go func() { s.done <- s.run(b.rng.Uint64()) }()
	return s
}

func (s *steady) content(serial uint64) []byte {
	if serial == 0 {
		return make([]byte, steadyBlock)
	}
	return bytes.Repeat(binary.BigEndian.AppendUint64(nil, serial*0x9e3779b97f4a7c15), steadyBlock/8)
}

func (s *steady) run(seed uint64) error {
	for n := uint64(1); ; n++ {
		select {
		case <-s.stop:
			return s.verify()
		default:
		}
		i := (seed + n*n) % uint64(len(s.blocks))
		began := time.Now()
		if err := s.step(n, i); err != nil {
			return fmt.Errorf("request %d: %w", n, err)
		}
		s.mu.Lock()
		s.worst, s.calls = max(s.worst, time.Since(began)), s.calls+1
		s.mu.Unlock()
	}
}

func (s *steady) step(n, i uint64) error {
	switch n % 4 {
	case 0:
		return s.check(i)
	case 1:
		if n%64 == 1 {
			return s.c.Flush()
		}
	}
	if err := s.c.Write(s.content(n), (s.first+i)*steadyBlock, n%16 == 2); err != nil {
		return err
	}
	s.blocks[i] = n
	return nil
}

func (s *steady) check(i uint64) error {
	got := make([]byte, steadyBlock)
	if _, err := s.c.ReadAt(got, int64((s.first+i)*steadyBlock)); err != nil {
		return err
	}
	if !bytes.Equal(got, s.content(s.blocks[i])) {
		return fmt.Errorf("block %d is not what was written last (%d): %x", i, s.blocks[i], got[:16])
	}
	return nil
}

func (s *steady) verify() error {
	for i := range s.blocks {
		if err := s.check(uint64(i)); err != nil {
			return err
		}
	}
	return s.c.Close()
}

// pause returns the longest answer since the last call, once another request
// has been answered after it.
func (s *steady) pause() time.Duration {
	s.b.Helper()
	s.mu.Lock()
	at := s.calls
	s.mu.Unlock()
	s.b.until(func() bool {
		select {
		case err := <-s.done:
			s.b.Fatalf("the steady client failed: %v", err)
		default:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.calls > at+1
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	worst := s.worst
	s.worst = 0
	return worst
}

// end stops the client, which reads back everything it wrote.
func (s *steady) end() error {
	close(s.stop)
	return <-s.done
}

// distribution returns the median and the maximum.
func distribution(ds []time.Duration) (p50, top time.Duration) {
	ds = slices.Sorted(slices.Values(ds))
	return ds[len(ds)/2], ds[len(ds)-1]
}
