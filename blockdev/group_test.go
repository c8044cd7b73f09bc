package blockdev

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

// TestConcurrentWriters lets writers and readers meet on few sectors while the
// applier never rests. No sector may be torn or go back in time, and the disks
// must end as the journal's order says.
func TestConcurrentWriters(t *testing.T) {
	const sectors, writers, each = 64, 4, 1500
	r := newRig(t, GroupOptions{ApplyInterval: 50 * time.Microsecond}, nil, sectors*512, sectors*512)
	if _, err := r.j.Cursor("model", 0); err != nil {
		t.Fatal(err)
	}
	rng := seeded.Rand(t)
	var writing, reading sync.WaitGroup
	var stop atomic.Bool
	for k := range writers {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(k)))
		writing.Go(func() {
			for i := range each {
				n := 1 + own.IntN(8)
				off := own.IntN(sectors - n)
				stamp := binary.LittleEndian.AppendUint64(nil, uint64(k)<<32|uint64(i+1))
				if err := r.g.Volumes()[own.IntN(2)].Write(bytes.Repeat(stamp, n*64), uint64(off)*512, false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for k := range 2 {
		own := rand.New(rand.NewPCG(rng.Uint64(), uint64(100+k)))
		reading.Go(func() {
			v := r.g.Volumes()[k]
			for !stop.Load() {
				n := 1 + own.IntN(16)
				off := own.IntN(sectors - n)
				p := make([]byte, n*512)
				if err := v.ReadAt(p, uint64(off)*512); err != nil {
					t.Error(err)
					return
				}
				for s := range n {
					for i := 8; i < 512; i += 8 {
						if !bytes.Equal(p[s*512:s*512+8], p[s*512+i:s*512+i+8]) {
							t.Errorf("sector %d is torn", off+s)
							return
						}
					}
				}
			}
		})
	}
	writing.Wait()
	stop.Store(true)
	reading.Wait()
	want := [][]byte{make([]byte, sectors*512), make([]byte, sectors*512)}
	play(want, records(t, r.j, 0), r.j.Head().LSN)
	for i, v := range r.g.Volumes() {
		if d := differ(content(t, v), want[i]); d != "" {
			t.Errorf("disk %d before the drain: %s", i+1, d)
		}
	}
	if err := r.g.Drain(background); err != nil {
		t.Fatal(err)
	}
	for i, b := range r.disks {
		if d := differ(b.stable, want[i]); d != "" {
			t.Errorf("backing %d: %s", i+1, d)
		}
	}
	t.Logf("%d rounds", r.g.Stats().Rounds)
	r.close(t)
}

// TestAcknowledgedIsRead: what a writer was told is written is what the next
// read returns, while the applier drops it from memory.
func TestAcknowledgedIsRead(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: 20 * time.Microsecond}, nil, 64<<10)
	v := r.g.Volumes()[0]
	var wg sync.WaitGroup
	for k := range 4 {
		wg.Go(func() {
			p, q := make([]byte, 512), make([]byte, 2048)
			for i := range 3000 {
				binary.LittleEndian.PutUint64(p, uint64(i))
				off := uint64(k*16+i%8) * 512
				if err := v.Write(p, off, false); err != nil {
					t.Error(err)
					return
				}
				if err := v.ReadAt(q, off&^2047); err != nil || !bytes.Equal(q[off%2048:off%2048+512], p) {
					t.Errorf("write %d of %d is not what a read returns (%v)", i, k, err)
					return
				}
			}
		})
	}
	wg.Wait()
	r.close(t)
}

func TestReadOnlyAndReplica(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10)
	v := r.g.Volumes()[0]
	data := bytes.Repeat([]byte{7}, 512)
	if err := v.Write(data, 0, false); err != nil {
		t.Fatal(err)
	}
	why := fmt.Errorf("the secondary has taken over: %w", redoubt.ErrFenced)
	r.g.SetReadOnly(why)
	for _, err := range []error{v.Write(data, 0, false), v.Write(data[:3], 1, false), v.Zero(redoubt.Extent{Len: 512}, true, false)} {
		if !errors.Is(err, redoubt.ErrFenced) || !errors.Is(err, redoubt.ErrReadOnly) {
			t.Errorf("write while read-only: %v", err)
		}
	}
	if h := r.j.Head().LSN; h != 1 {
		t.Errorf("head %d after refused writes", h)
	}
	if err := v.Flush(background); err != nil {
		t.Errorf("flush while read-only: %v", err)
	}
	marks := []redoubt.Write{{Kind: redoubt.KindBookmark, Data: []byte("before the end")}, {Kind: redoubt.KindCopy, Disk: 1, Extent: redoubt.Extent{Len: 4096}}}
	if err := r.g.AppendControl(marks); err != nil || marks[1].LSN != 3 {
		t.Errorf("control records: %v, LSN %d", err, marks[1].LSN)
	}
	if err := r.g.AppendControl([]redoubt.Write{{Kind: redoubt.KindWrite, Disk: 1, Extent: redoubt.Extent{Len: 512}, Data: data}}); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("a write as control record: %v", err)
	}

	rec := func(l redoubt.LSN, k redoubt.Kind, off uint64, d []byte) redoubt.Write {
		return redoubt.Write{LSN: l, Time: int64(1e18) + int64(l), Kind: k, Disk: 1, Extent: redoubt.Extent{Off: off, Len: 512}, Data: d, CRC: redoubt.Checksum(d)}
	}
	nine := bytes.Repeat([]byte{9}, 512)
	eight := bytes.Repeat([]byte{8}, 512)
	ws := []redoubt.Write{rec(4, redoubt.KindWrite, 512, nine), rec(5, redoubt.KindCopy, 1024, eight), rec(5, redoubt.KindCopy, 4096, nine),
		rec(6, redoubt.KindCopy, 0, nil), rec(7, redoubt.KindTrim, 0, nil)}
	for i := range ws {
		if ws[i].Data == nil {
			ws[i].CRC = 0
		}
	}
	if err := r.g.Replicate(1, ws); err != nil {
		t.Fatal(err)
	}
	for i := range nine {
		nine[i] = 0 // the group has its own copy
	}
	want := make([]byte, 64<<10)
	copy(want[512:], bytes.Repeat([]byte{9}, 512))
	copy(want[1024:], eight)
	copy(want[4096:], bytes.Repeat([]byte{9}, 512))
	if d := differ(content(t, v), want); d != "" {
		t.Error(d)
	}
	copy(nine, want[512:])
	if err := r.g.Replicate(1, ws); !errors.Is(err, redoubt.ErrGap) {
		t.Errorf("the same again: %v", err)
	}
	if err := r.g.Replicate(2, []redoubt.Write{rec(8, redoubt.KindWrite, 0, eight)}); !errors.Is(err, redoubt.ErrFenced) {
		t.Errorf("another epoch: %v", err)
	}
	bad := rec(8, redoubt.KindWrite, 64<<10, eight)
	if err := r.g.Replicate(1, []redoubt.Write{bad}); !errors.Is(err, redoubt.ErrOutOfRange) {
		t.Errorf("beyond the disk: %v", err)
	}
	r.kill()
	r.open(t)
	if d := differ(content(t, r.g.Volumes()[0]), want); d != "" {
		t.Errorf("after a kill: %s", d)
	}
	r.g.SetReadOnly(nil)
	if err := r.g.Volumes()[0].Write(data, 0, true); err != nil {
		t.Errorf("write after read-only ended: %v", err)
	}
	r.close(t)
}

func TestBackingFailureLatches(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: time.Hour}, nil, 64<<10)
	v := r.g.Volumes()[0]
	data := bytes.Repeat([]byte{3}, 512)
	if err := v.Write(data, 512, false); err != nil {
		t.Fatal(err)
	}
	r.disks[0].setFail(io.ErrShortWrite)
	if err := r.g.Drain(background); !errors.Is(err, redoubt.ErrFailed) || !errors.Is(err, io.ErrShortWrite) {
		t.Fatalf("drain: %v", err)
	}
	r.disks[0].setFail(nil) // a disk that recovers is not trusted again
	if err := v.Write(data, 0, false); !errors.Is(err, redoubt.ErrFailed) {
		t.Errorf("write: %v", err)
	}
	if err := v.Flush(background); !errors.Is(err, redoubt.ErrFailed) {
		t.Errorf("flush: %v", err)
	}
	p := make([]byte, 512)
	if err := v.ReadAt(p, 512); err != nil || !bytes.Equal(p, data) {
		t.Errorf("read: %v", err)
	}
	if s := r.g.Stats(); s.Err == nil || s.Applied != 0 {
		t.Errorf("stats: %+v", s)
	}
	r.kill()
	r.open(t)
	if err := r.g.Volumes()[0].ReadAt(p, 512); err != nil || !bytes.Equal(p, data) {
		t.Errorf("read after reopening: %v", err)
	}
	r.close(t)
}

func TestMemoryLimit(t *testing.T) {
	const limit = 4 << 20
	r := newRig(t, GroupOptions{MemoryLimit: limit, ApplyInterval: time.Hour}, nil, 16<<20)
	v := r.g.Volumes()[0]
	var most atomic.Int64
	for i := range 16 {
		if err := v.Write(bytes.Repeat([]byte{byte(i + 1)}, 1<<20), uint64(i)<<20, false); err != nil {
			t.Fatal(err)
		}
		most.Store(max(most.Load(), r.g.Stats().MemoryBytes))
	}
	if most.Load() > limit {
		t.Errorf("%d bytes held, limit %d", most.Load(), limit)
	}
	r.kill()
	r.open(t) // replay obeys the limit, too
	if got := r.g.Stats().MemoryBytes; got > limit {
		t.Errorf("%d bytes held after replay", got)
	}
	for i, b := range content(t, r.g.Volumes()[0]) {
		if want := byte(i>>20 + 1); b != want {
			t.Fatalf("byte %d is %d, want %d", i, b, want)
		}
	}
	r.close(t)
}

func TestJournalFull(t *testing.T) {
	fs := vfs.NewMem()
	o := journalOptions(fs)
	o.MaxBytes = 4 << 20
	j, err := journal.Open("/journal", o)
	if err != nil {
		t.Fatal(err)
	}
	cur, err := j.Cursor("secondary", 0)
	if err != nil {
		t.Fatal(err)
	}
	b := newMemBacking(8<<20, nil)
	g, err := OpenGroup(j, []Member{{redoubt.Disk{ID: 1, Name: "d", Size: 8 << 20}, b}}, GroupOptions{FullWait: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	v, _ := g.Volume("d")
	block := bytes.Repeat([]byte{1}, 64<<10)
	n := 0
	for err == nil {
		err = v.Write(block, uint64(n%128)<<16, false)
		n++
		if n > 1000 {
			t.Fatal("the journal never fills")
		}
	}
	if !errors.Is(err, redoubt.ErrJournalFull) || errnoOf(err) != errNoSpace {
		t.Fatalf("full: %v", err)
	}
	p := make([]byte, 512)
	if err := v.ReadAt(p, 0); err != nil || p[0] != 1 {
		t.Errorf("read while full: %v", err)
	}
	// A write that waits goes on when the secondary has caught up.
	g.o.FullWait = time.Minute
	done := make(chan error)
	go func() { done <- v.Write(block, 0, false) }()
	if err := g.Drain(background); err != nil {
		t.Fatal(err)
	}
	if err := cur.Ack(j.Head().LSN); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("write after trimming: %v", err)
	}
	if err := errors.Join(g.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}

func TestNextData(t *testing.T) {
	path := newImage(t, 1<<30)
	im, err := OpenImage(path, 0)
	if err != nil {
		t.Fatal(err)
	}
	fs := vfs.NewMem()
	j, err := journal.Open("/journal", journalOptions(fs))
	if err != nil {
		t.Fatal(err)
	}
	g, err := OpenGroup(j, []Member{{redoubt.Disk{ID: 1, Name: "d", Size: 1 << 30}, im}}, GroupOptions{ApplyInterval: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := g.NextData(1, 0); ok {
		t.Skip("the file system does not tell its holes")
	}
	v, _ := g.Volume("d")
	for range 2 { // in memory, then in the image
		for _, off := range []uint64{600 << 20, 100 << 20} {
			if err := v.Write(bytes.Repeat([]byte{1}, 64<<10), off, false); err != nil {
				t.Fatal(err)
			}
		}
		var got []redoubt.Extent
		for at := uint64(0); ; {
			e, ok := g.NextData(1, at)
			if !ok {
				break
			}
			got, at = append(got, e), e.End()
		}
		if len(got) != 2 || got[0] != (redoubt.Extent{Off: 100 << 20, Len: 64 << 10}) || got[1].Off != 600<<20 {
			t.Errorf("data at %v", got)
		}
		if err := g.Drain(background); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(g.Close(), j.Close()); err != nil {
		t.Error(err)
	}
}

func TestDrainObeysContextAndClose(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 64<<10)
	ctx, cancel := context.WithCancel(background)
	cancel()
	v := r.g.Volumes()[0]
	if err := v.Write(make([]byte, 512), 0, false); err != nil {
		t.Fatal(err)
	}
	if err := r.g.Drain(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("drain: %v", err)
	}
	r.close(t)
	if err := v.Write(make([]byte, 512), 0, false); !errors.Is(err, redoubt.ErrClosed) {
		t.Errorf("write after close: %v", err)
	}
	if err := r.g.Close(); err != nil {
		t.Errorf("close again: %v", err)
	}
}

// What the journal could not note as applied is not: nobody is told that it was drained.
func TestAppliedIsNoted(t *testing.T) {
	r := newRig(t, GroupOptions{ApplyInterval: time.Hour, SyncInterval: time.Hour}, nil, 1<<20)
	if err := r.g.volumes[0].Write(make([]byte, 4096), 0, false); err != nil {
		t.Fatal(err)
	}
	if err := r.g.round(); err != nil {
		t.Fatal(err)
	}
	if err := r.j.Close(); err != nil {
		t.Fatal(err)
	}
	if err := r.g.syncBackings(); !errors.Is(err, redoubt.ErrClosed) {
		t.Errorf("syncing: %v", err)
	}
	if err := r.g.Drain(background); !errors.Is(err, redoubt.ErrFailed) {
		t.Errorf("draining: %v", err)
	}
	r.g.abandon()
}
