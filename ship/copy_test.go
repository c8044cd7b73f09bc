package ship

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/journal"
)

// liveDisk is a disk that is written, through the journal, while it is copied.
type liveDisk struct {
	mu     sync.Mutex
	j      *journal.Journal
	data   []byte
	before []byte          // content that no journal knows
	writes []redoubt.Write // all since
}

// at returns the content after the write l.
func (d *liveDisk) at(l redoubt.LSN) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return apply(bytes.Clone(d.before), d.writes, l)
}

func (d *liveDisk) ReadCurrent(_ redoubt.DiskID, p []byte, off uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	copy(p, d.data[off:])
	return nil
}

func (d *liveDisk) write(t *testing.T, off int, p []byte) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := redoubt.Write{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(off), Len: uint64(len(p))}, Data: p, CRC: redoubt.Checksum(p)}
	ws := []redoubt.Write{w}
	if err := d.j.Append(ws); err != nil {
		t.Error(err)
	}
	d.writes = append(d.writes, ws...)
	copy(d.data[off:], p)
}

// apply changes the disk out as the writes up to upTo do, and returns it.
func apply(out []byte, ws []redoubt.Write, upTo redoubt.LSN) []byte {
	for _, w := range ws {
		if w.LSN > upTo || !onDisk(w.Kind) {
			continue
		}
		if w.Kind.Zeroes() {
			clear(out[w.Extent.Off:w.Extent.End()])
		} else {
			copy(out[w.Extent.Off:], w.Data)
		}
	}
	return out
}

const copySize = 8 << 20

// newLiveDisk has old content that no journal knows: half of it zeros.
func newLiveDisk(rng *rand.Rand, j *journal.Journal) *liveDisk {
	d := &liveDisk{j: j, data: make([]byte, copySize)}
	for off := 0; off < copySize; off += 64 << 10 {
		if rng.IntN(2) == 0 {
			copy(d.data[off:], payload(rng, 1+rng.IntN(64<<10)))
		}
	}
	d.before = bytes.Clone(d.data)
	return d
}

func (d *liveDisk) appendCopies(t *testing.T, unit int, baseline bool) {
	t.Helper()
	var ws []redoubt.Write
	for off := 0; off < copySize; off += unit {
		ws = append(ws, redoubt.Write{Disk: 1, Kind: redoubt.KindCopy, Extent: redoubt.Extent{Off: uint64(off), Len: uint64(unit)}})
	}
	if baseline {
		ws = append(ws, redoubt.Write{Kind: redoubt.KindBaseline})
	}
	for i := range ws {
		if err := d.j.Append(ws[i : i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// The initial copy goes on while the disk is written: from the baseline on, the
// content at every position is that of the disk at that position.
func TestCopyWhileWritten(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	d := newLiveDisk(rng, j)
	rec := newRecorder(t)
	rec.durable = j.Durable
	o := w.options(j, w.receive(rec, "n1"))
	o.Current, o.MaxDelta = d, 2<<20
	wrng := rand.New(rand.NewPCG(rng.Uint64(), 3))
	writes := func(n int) {
		for range n {
			p := payload(wrng, 512*(1+wrng.IntN(16)))
			d.write(t, wrng.IntN((copySize-len(p))/512)*512, p)
		}
	}
	writes(50)
	d.appendCopies(t, 1<<20, true)
	writes(200) // the copies that are shipped contain these
	s, _ := w.run(o)
	writes(200)
	end := j.Head().LSN
	rec.awaitLSN(end)
	if rec.baseline < 250 || rec.baseline > end {
		t.Fatalf("baseline %d, end %d", rec.baseline, end)
	}
	for _, l := range []redoubt.LSN{rec.baseline, rec.baseline + (end-rec.baseline)/2, end} {
		if !bytes.Equal(apply(make([]byte, copySize), rec.writes, l), d.at(l)) {
			t.Fatalf("baseline is %d; at %d the copy differs from the disk", rec.baseline, l)
		}
	}
	if st := s.Status(); st.BytesRaw > copySize*3/4+4<<20 {
		t.Errorf("%d raw bytes for a disk of %d that is half zeros", st.BytesRaw, copySize)
	}
}

// Content that is newer than the copy record is not shipped before the writes
// that made it are durable; the recorder checks Durable, and here the head is
// far above the copy record.
func TestCopyWaitsForDurableHead(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	d := newLiveDisk(rng, j)
	d.appendCopies(t, copySize/8, false)
	if err := j.Sync(context.Background(), j.Head().LSN); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		d.write(t, rng.IntN(1000)*512, payload(rng, 512))
	}
	head := j.Head().LSN
	rec := newRecorder(t)
	rec.durable = func() redoubt.LSN {
		if j.Durable() < head {
			t.Errorf("copy shipped while durable is %d, content is of %d", j.Durable(), head)
		}
		return j.Durable()
	}
	o := w.options(j, w.receive(rec, "n1"))
	o.Current = d
	w.run(o)
	rec.awaitLSN(head)
}

func TestSkipCopies(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	d := newLiveDisk(rng, j)
	d.write(t, 0, payload(rng, 512))
	d.appendCopies(t, 1<<20, true)
	d.write(t, 512, payload(rng, 512))
	rec := newRecorder(t)
	o := w.options(j, w.receive(rec, "n1"))
	o.Current, o.SkipCopies = d, true
	w.run(o)
	rec.awaitLSN(j.Head().LSN)
	if rec.baseline != 0 || len(rec.writes) != 2 {
		t.Fatalf("baseline %d, %d writes", rec.baseline, len(rec.writes))
	}
}

// Reverse: the receiver says what it has changed, the sender puts what differs
// into its journal and begins there; each LSN is one write.
func TestReverseResync(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 2, LSN: 500})
	d := newLiveDisk(rng, j)
	rec := newRecorder(t)
	rec.welcome = Welcome{Epoch: 2, Writer: "target/n2", Resync: true, DirtyAfter: 480}
	rec.committed = redoubt.Position{Epoch: 1, LSN: 530}
	rec.dirty = map[redoubt.DiskID][]redoubt.Extent{}
	for i := range 10000 { // several frames
		rec.dirty[1] = append(rec.dirty[1], redoubt.Extent{Off: uint64(i) * 8192, Len: 4096})
	}
	cred := w.cred(pki.RoleTarget, "n2")
	o := w.options(j, w.receive(rec, "n1"))
	o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
		return netmux.Dial(ctx, addr, netmux.ProtoShip, cred)
	}
	o.Hello = func() Hello { h := hello(); h.Reverse = true; return h }
	o.Current = d
	var got map[redoubt.DiskID][]redoubt.Extent
	o.OnResync = func(_ context.Context, wel Welcome, dirty map[redoubt.DiskID][]redoubt.Extent) (redoubt.LSN, error) {
		got = dirty
		start := j.Head().LSN + 1
		d.appendCopies(t, redoubt.MaxWriteData, true)
		return start, nil
	}
	w.run(o)
	rec.awaitLSN(500 + copySize/redoubt.MaxWriteData + 1)
	if len(got[1]) != 10000 || got[1][9999] != rec.dirty[1][9999] {
		t.Fatalf("%d dirty extents", len(got[1]))
	}
	for i, x := range rec.writes {
		if x.LSN != redoubt.LSN(501+i) {
			t.Fatalf("write %d has LSN %d", i, x.LSN)
		}
	}
	if !bytes.Equal(apply(make([]byte, copySize), rec.writes, 1<<60), d.data) {
		t.Fatal("the disk differs")
	}
}

func TestResyncWithoutHandler(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.welcome.Resync = true
	s, _ := w.run(w.options(j, w.receive(rec, "n1")))
	await(t, "the error", func() bool { return errors.Is(s.Status().LastError, redoubt.ErrState) })
}

func TestZeroRuns(t *testing.T) {
	rng := seed(t)
	for range 200 {
		off := uint64(rng.IntN(16)) * 512
		p := make([]byte, 512*(1+rng.IntN(64)))
		for range rng.IntN(4) {
			p[rng.IntN(len(p))] = 1
		}
		at := 0
		var last bool
		err := zeroRuns(off, p, func(from, to int, zero bool) error {
			if from != at || to <= from || at > 0 && zero == last {
				t.Fatalf("run %d-%d after %d", from, to, at)
			}
			if zero != isZero(p[from:to]) && zero {
				t.Fatalf("run %d-%d is not zero", from, to)
			}
			if from > 0 && (off+uint64(from))%zeroUnit != 0 {
				t.Fatalf("run begins at %d", off+uint64(from))
			}
			at, last = to, zero
			return nil
		})
		if err != nil || at != len(p) {
			t.Fatalf("ended at %d of %d: %v", at, len(p), err)
		}
	}
}
