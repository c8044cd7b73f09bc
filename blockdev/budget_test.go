package blockdev

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// patterned returns a rig of one disk whose backing holds its own offsets.
func patterned(t *testing.T, size int, wrap func(*memBacking) Backing) *rig {
	t.Helper()
	r := &rig{fs: vfs.NewMem(), wrap: wrap, disks: []*memBacking{newMemBacking(size, nil)}}
	for i := 0; i < size; i += 8 {
		binary.BigEndian.PutUint64(r.disks[0].now[i:], uint64(i))
	}
	r.open(t)
	return r
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Clients that ask for much and take nothing share a bounded memory, hold back
// nobody else, and are served when they go on.
func TestReadMemory(t *testing.T) {
	const size, limit, long, deaf, each = 64 << 20, 40 << 20, 16 << 20, 8, 2
	r := patterned(t, size, nil)
	want := r.disks[0].now
	sv := serve(t, ServerOptions{ReadMemory: limit, StallTimeout: time.Hour, IdleAfter: time.Hour}, r)
	before := heap()
	var clients []*client
	for i := range deaf {
		c := sv.client(t, "d1")
		for k := range uint64(each) {
			c.send(header(0, cmdRead, k, (k+uint64(i)%2)*long, long))
		}
		clients = append(clients, c)
	}
	eventually(t, "all of them have an answer that they do not take", func() bool {
		sv.s.mu.Lock()
		defer sv.s.mu.Unlock()
		for c := range sv.s.conns {
			if c.pulse.sent.Load()&pulseBusy == 0 {
				return false
			}
		}
		return sv.s.reads.left.Load() < long
	})
	if grown := heap() - before; grown > limit+deaf*1<<20 {
		t.Errorf("%d MiB for them, the limit is %d", grown>>20, limit>>20)
	} else {
		t.Logf("%d MiB are held by %d clients that asked for %d MiB", grown>>20, deaf, deaf*each*long>>20)
	}
	for _, structured := range []bool{false, true} {
		c, err := newCaller(sv.sock, "d1", structured)
		if err != nil {
			t.Fatal(err)
		}
		defer c.nc.Close()
		c.nc.SetDeadline(time.Now().Add(time.Minute))
		calls := []call{{typ: cmdRead, off: 1 << 20, len: long}, {typ: cmdRead, off: 5, len: 300<<10 + 7}, {typ: cmdRead, off: size - 4096, len: 4096}}
		if structured {
			calls = append(calls, call{typ: cmdRead, flags: cmdFlagDF, off: 3 << 20, len: long})
		}
		if _, err := c.post(calls...); err != nil {
			t.Fatal(err)
		}
		for range calls {
			a, err := c.next()
			if err != nil || a.errno != 0 {
				t.Fatalf("a good client, structured %v: %v, error %d", structured, err, a.errno)
			}
			if r := calls[a.cookie-1]; !bytes.Equal(a.data, want[r.off:r.off+uint64(r.len)]) {
				t.Errorf("structured %v, %d bytes at %d differ", structured, r.len, r.off)
			}
		}
	}
	for i, c := range clients {
		c.nc.SetDeadline(time.Now().Add(time.Minute))
		for range each {
			k, errno, data := c.answer(long)
			if off := (k + uint64(i)%2) * long; errno != 0 || !bytes.Equal(data, want[off:off+long]) {
				t.Fatalf("client %d, answer %d: error %d, or the data differ", i, k, errno)
			}
		}
	}
	eventually(t, "everything was given back", func() bool { return sv.s.reads.left.Load() == limit })
}

// scratched is a Backing that cannot be read at one place.
type scratched struct {
	*memBacking
	at uint64
}

func (s *scratched) ReadAt(p []byte, off uint64) error {
	if off <= s.at && s.at < off+uint64(len(p)) {
		return errors.New("medium error")
	}
	return s.memBacking.ReadAt(p, off)
}

// What an answer without a buffer of its own does when the backing fails.
func TestStreamOverBadSector(t *testing.T) {
	const size, bad = 4 << 20, 1<<20 + 5
	sv := serve(t, ServerOptions{ReadMemory: 1}, patterned(t, size, func(b *memBacking) Backing { return &scratched{b, bad} }))
	for _, tc := range []struct {
		name       string
		structured bool
		call       call
		errno      uint32
		ends       bool
	}{
		{"simple, at once", false, call{typ: cmdRead, off: bad, len: 1 << 20}, errIO, false},
		{"simple, later", false, call{typ: cmdRead, off: 0, len: 2 << 20}, 0, true},
		{"one chunk, at once", true, call{typ: cmdRead, flags: cmdFlagDF, off: bad, len: 1 << 20}, errIO, false},
		{"one chunk, later", true, call{typ: cmdRead, flags: cmdFlagDF, off: 0, len: 2 << 20}, 0, true},
		{"chunks, later", true, call{typ: cmdRead, off: 0, len: 2 << 20}, errIO, false},
		{"simple, elsewhere", false, call{typ: cmdRead, off: 2 << 20, len: 1<<20 + 3}, 0, false},
	} {
		c, err := newCaller(sv.sock, "d1", tc.structured)
		if err != nil {
			t.Fatal(err)
		}
		defer c.nc.Close()
		c.nc.SetDeadline(time.Now().Add(20 * time.Second))
		a, err := c.do(tc.call)
		if ended := err != nil && !errors.Is(err, os.ErrDeadlineExceeded); ended != tc.ends || !ended && (err != nil || a.errno != tc.errno) {
			t.Errorf("%s: error %d, %v", tc.name, a.errno, err)
		}
		if tc.ends {
			continue
		}
		if a, err := c.do(call{typ: cmdRead, off: 4096, len: 300 << 10}); err != nil || a.errno != 0 || binary.BigEndian.Uint64(a.data[8:]) != 4104 {
			t.Errorf("%s: the next request: error %d, %v", tc.name, a.errno, err)
		}
	}
}
