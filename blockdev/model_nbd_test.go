package blockdev

import (
	"bytes"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// mapped is a Backing that knows where it holds anything but zeros.
type mapped struct{ *memBacking }

func (m mapped) NextData(from uint64) (redoubt.Extent, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	some := func(off uint64) bool {
		p := m.now[off:min(off+redoubt.SectorSize, uint64(len(m.now)))]
		return len(bytes.Trim(p, "\x00")) > 0
	}
	for from < uint64(len(m.now)) && !some(from) {
		from += redoubt.SectorSize - from%redoubt.SectorSize
	}
	end := from
	for end < uint64(len(m.now)) && some(end) {
		end += redoubt.SectorSize - end%redoubt.SectorSize
	}
	return redoubt.Extent{Off: from, Len: end - from}, end > from
}

// desk is a group behind a server, two connections to each disk, and the bytes
// that the disks must hold. Connections 0 and 2 get simple replies, the others structured ones.
type desk struct {
	dir     string
	serial  int
	rig     *rig
	s       *Server
	done    chan error
	sock    string
	callers [4]*caller
	model   [2][]byte
}

func (d *desk) start(t *rapid.T) {
	d.serial++
	d.sock = filepath.Join(d.dir, fmt.Sprint(d.serial))
	d.s, d.done = NewServer(ServerOptions{SlowReads: 2, ReadMemory: int64(rapid.SampledFrom([]int{1, 1 << 20}).Draw(t, "read memory"))}), make(chan error, 1)
	for _, v := range d.rig.g.Volumes() {
		if err := d.s.Add(Export{Name: v.Disk().Name, Volume: v}); err != nil {
			t.Fatalf("%v", err)
		}
	}
	l, err := ListenUnix(d.sock)
	if err != nil {
		t.Fatalf("%v", err)
	}
	go func(s *Server, done chan<- error) { done <- s.Serve(l) }(d.s, d.done)
	for i := range d.callers {
		d.connect(t, i)
	}
}

func (d *desk) connect(t *rapid.T, i int) {
	c, err := newCaller(d.sock, fmt.Sprintf("d%d", 1+i/2), i%2 == 1)
	if err != nil {
		t.Fatalf("%v", err)
	}
	c.nc.SetDeadline(time.Now().Add(time.Minute))
	d.callers[i] = c
}

func (d *desk) stop(t *rapid.T) {
	d.s.Close()
	if err := <-d.done; err != nil {
		t.Fatalf("serve: %v", err)
	}
	for _, c := range d.callers {
		c.nc.Close()
	}
}

// do sends a request over connection i; its answer must be errno.
func (d *desk) do(t *rapid.T, i int, r call, errno uint32) answered {
	a, err := d.callers[i].do(r)
	if err != nil || a.errno != errno {
		t.Fatalf("connection %d, %+v: error %d, %v; want %d", i, r, a.errno, err, errno)
	}
	return a
}

// flags draws any of those that are allowed.
func flags(t *rapid.T, of ...uint16) (f uint16) {
	for _, x := range of {
		if rapid.Bool().Draw(t, fmt.Sprintf("flag %#x", x)) {
			f |= x
		}
	}
	return f
}

// judgeStatus checks what BLOCK_STATUS tells of m: no data in what is said to be
// zeros, and no more than was asked for.
func judgeStatus(m []byte, one bool, xs []extent) error {
	at := uint64(0)
	for _, x := range xs {
		end := at + uint64(x.len)
		if x.len == 0 || end > uint64(len(m)) || x.state != 0 && x.state != stateHole|stateZero {
			return fmt.Errorf("extent %+v at %d of %d", x, at, len(m))
		}
		if x.state != 0 && len(bytes.Trim(m[at:end], "\x00")) > 0 {
			return fmt.Errorf("%d bytes at %d are told to be zeros and are not", x.len, at)
		}
		at = end
	}
	if len(xs) == 0 || one && len(xs) != 1 {
		return fmt.Errorf("%d extents, only one asked for: %v", len(xs), one)
	}
	return nil
}

// TestModelOverNBD runs random requests of every kind over several connections
// to two disks, with reconnections, restarts and kills between them, against
// plain bytes.
func TestModelOverNBD(t *testing.T) {
	sizes := []int{96 << 10, 32<<10 + 512}
	dir, all, zeros := t.TempDir(), 0, 0
	rapid.Check(t, func(t *rapid.T) {
		interval := time.Hour
		if rapid.Bool().Draw(t, "eager applier") {
			interval = time.Microsecond
		}
		all++
		sub := filepath.Join(dir, fmt.Sprint(all))
		d := &desk{dir: sub, rig: &rig{fs: vfs.NewMem(), o: GroupOptions{ApplyInterval: interval}, wrap: func(b *memBacking) Backing { return mapped{b} }}}
		for i, n := range sizes {
			d.rig.disks = append(d.rig.disks, newMemBacking(n, nil))
			d.model[i] = make([]byte, n)
		}
		d.rig.open(t)
		d.start(t)
		defer func() { d.stop(t); d.rig.g.abandon(); d.rig.j.Close() }()
		value := byte(0)
		pick := func(t *rapid.T) (i int, m []byte, r call) {
			i = rapid.IntRange(0, 3).Draw(t, "connection")
			size := uint64(sizes[i/2])
			unit := uint64(rapid.SampledFrom([]int{1, 512, 4096}).Draw(t, "unit"))
			off := rapid.Uint64Range(0, size/unit-1).Draw(t, "off")
			n := rapid.Uint64Range(1, min(size/unit-off, 40)).Draw(t, "len")
			if rapid.IntRange(0, 9).Draw(t, "to the end") == 0 {
				n = size/unit - off
			}
			return i, d.model[i/2][off*unit : (off+n)*unit], call{off: off * unit, len: uint32(n * unit)}
		}
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				i, m, r := pick(t)
				for k := range m {
					value = value*5 + 1
					m[k] = value
				}
				r.typ, r.flags, r.payload = cmdWrite, flags(t, cmdFlagFUA), m
				d.do(t, i, r, 0)
			},
			"trim": func(t *rapid.T) {
				i, m, r := pick(t)
				clear(m)
				r.typ, r.flags = cmdTrim, flags(t, cmdFlagFUA)
				d.do(t, i, r, 0)
			},
			"write zeroes": func(t *rapid.T) {
				i, m, r := pick(t)
				clear(m)
				r.typ, r.flags = cmdWriteZeroes, flags(t, cmdFlagFUA, cmdFlagNoHole, cmdFlagFastZero)
				d.do(t, i, r, 0)
			},
			"read": func(t *rapid.T) {
				i, m, r := pick(t)
				if r.typ = cmdRead; i%2 == 1 {
					r.flags = flags(t, cmdFlagDF)
				}
				if diff := differ(d.do(t, i, r, 0).data, m); diff != "" {
					t.Fatalf("connection %d at %d: %s", i, r.off, diff)
				}
			},
			"cache": func(t *rapid.T) {
				i, _, r := pick(t)
				r.typ = cmdCache
				d.do(t, i, r, 0)
			},
			"block status": func(t *rapid.T) {
				i, m, r := pick(t)
				r.typ, r.flags = cmdBlockStatus, flags(t, cmdFlagReqOne)
				if i%2 == 0 { // has no context
					d.do(t, i, r, errInval)
					return
				}
				a := d.do(t, i, r, 0)
				if err := judgeStatus(m, r.flags != 0, a.extents); err != nil {
					t.Fatalf("connection %d, %+v: %v", i, r, err)
				}
				for _, x := range a.extents {
					zeros += int(x.state & 1)
				}
			},
			"flush": func(t *rapid.T) {
				d.do(t, rapid.IntRange(0, 3).Draw(t, "connection"), call{typ: cmdFlush, flags: flags(t, cmdFlagFUA)}, 0)
				if at := d.rig.j.Durable(); at < d.rig.j.Head().LSN {
					t.Fatalf("durable %d, head %v", at, d.rig.j.Head())
				}
			},
			"over the end": func(t *rapid.T) {
				i := rapid.IntRange(0, 3).Draw(t, "connection")
				r := call{typ: rapid.SampledFrom([]uint16{cmdRead, cmdWrite, cmdTrim, cmdWriteZeroes, cmdCache}).Draw(t, "type"), off: uint64(sizes[i/2]) - 512, len: 513}
				errno := errInval
				if r.typ == cmdWrite || r.typ == cmdWriteZeroes {
					errno = errNoSpace
				}
				if r.typ == cmdWrite {
					r.payload = bytes.Repeat([]byte{9}, 513)
				}
				d.do(t, i, r, errno)
			},
			"drain": func(t *rapid.T) {
				if err := d.rig.g.Drain(background); err != nil {
					t.Fatalf("%v", err)
				}
			},
			"reconnect": func(t *rapid.T) {
				i := rapid.IntRange(0, 3).Draw(t, "connection")
				d.callers[i].nc.Close()
				d.connect(t, i)
			},
			"restart": func(t *rapid.T) { d.stop(t); d.rig.close(t); d.rig.open(t); d.start(t) },
			"kill":    func(t *rapid.T) { d.rig.kill(); d.stop(t); d.rig.open(t); d.start(t) },
			"": func(t *rapid.T) {
				for i, v := range d.rig.g.Volumes() {
					if diff := differ(content(t, v), d.model[i]); diff != "" {
						t.Fatalf("disk %d: %s", i+1, diff)
					}
				}
			},
		})
	})
	if zeros == 0 {
		t.Error("no hole was ever told: the test does not test BLOCK_STATUS")
	}
}

// TestStatusJudge shows what the judge of BLOCK_STATUS refuses.
func TestStatusJudge(t *testing.T) {
	m := append(make([]byte, 1024), 1)
	for _, tc := range []struct {
		xs  []extent
		one bool
		bad bool
	}{
		{xs: []extent{{1024, 3}, {1, 0}}},
		{xs: []extent{{1025, 0}}, one: true},
		{xs: []extent{{1025, 3}}, bad: true},
		{xs: []extent{{1024, 3}, {1, 0}}, one: true, bad: true},
		{xs: []extent{{1026, 0}}, bad: true},
		{xs: []extent{{0, 0}, {1025, 0}}, bad: true},
		{xs: []extent{{1024, 1}}, bad: true},
		{bad: true},
	} {
		if err := judgeStatus(m, tc.one, tc.xs); (err != nil) != tc.bad {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
