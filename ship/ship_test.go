package ship

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// normal is what a write becomes on the way.
func normal(ws []redoubt.Write) []redoubt.Write {
	out := slices.Clone(ws)
	for i := range out {
		if w := &out[i]; w.Kind == redoubt.KindWrite && isZero(w.Data) {
			w.Kind, w.Data, w.CRC = redoubt.KindZero, nil, 0
		}
	}
	return out
}

func TestEndToEnd(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.durable = j.Durable
	s, stop := w.run(w.options(j, w.receive(rec, "n1")))
	want := fill(t, rng, j, 2000, 8192)
	rec.awaitLSN(2000)
	rec.await("a heartbeat with the head", func() bool { return rec.head == 2000 })
	sameWrites(t, rec.writes, normal(want))
	await(t, "the last ack", func() bool { return j.Cursors()["site"] == 2000 })
	st := s.Status()
	if !st.Connected || st.Acked != (redoubt.Position{Epoch: 1, LSN: 2000}) || st.LagWrites != 0 || st.BytesRaw < st.BytesWire/2 || st.LastError != nil {
		t.Errorf("status %+v", st)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run: %v", err)
	}
}

// await polls a condition that has no signal of its own.
func await(t *testing.T, what string, cond func() bool) {
	t.Helper()
	limit := time.Now().Add(20 * time.Second)
	for !cond() {
		if time.Now().After(limit) {
			t.Fatalf("%s: not after 20 s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// Connections are cut at random bytes, and the sender is stopped and made anew
// at random moments: every write arrives once, in order.
func TestCutConnections(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.durable = j.Durable
	lives := rand.New(rand.NewPCG(rng.Uint64(), 2))
	p := newProxy(t, w.receive(rec, "n1"), func() int64 { return 5000 + lives.Int64N(1<<20) })
	o := w.options(j, p.addr())
	_, stop := w.run(o)
	var want []redoubt.Write
	for round := range 12 {
		more := fill(t, rng, j, 250, 16384)
		want = append(want, more...)
		if round%3 == 2 {
			stop()
			_, stop = w.run(o)
		}
	}
	rec.awaitLSN(3000)
	stop()
	for i := range want {
		want[i].LSN = redoubt.LSN(i + 1)
	}
	sameWrites(t, rec.writes, normal(want))
	p.mu.Lock()
	cuts := p.cuts
	p.mu.Unlock()
	rec.change(func() { t.Logf("%d connections cut, %d streams", cuts, len(rec.begins)) })
	if cuts == 0 {
		t.Error("no connection was cut")
	}
}

// A peer that falls silent is given up after PeerTimeout and the next address is
// tried; the receiver lets the new stream take the old one's place at once.
func TestSilentPeerIsLeft(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	addr := w.receive(rec, "n1")
	p := newProxy(t, addr, nil)
	o := w.options(j, p.addr(), addr)
	o.PeerTimeout = 300 * time.Millisecond
	s, _ := w.run(o)
	fill(t, rng, j, 10, 4096)
	rec.awaitLSN(10)
	p.freeze(true)
	begin := time.Now()
	fill(t, rng, j, 10, 4096)
	rec.awaitLSN(20)
	if st := s.Status(); st.Peer != addr {
		t.Errorf("peer %s, want %s", st.Peer, addr)
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("took over after %v", took)
	}
}

func TestRedirect(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	owner := newRecorder(t)
	owned := w.receive(owner, "n1")
	other := newRecorder(t)
	other.welcome.Redirect = owned
	s, _ := w.run(w.options(j, w.receive(other, "n2")))
	fill(t, seed(t), j, 10, 4096)
	owner.awaitLSN(10)
	if st := s.Status(); st.Peer != owned || other.appended != 0 {
		t.Errorf("peer %s", st.Peer)
	}
}

func TestFenced(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.welcome.Epoch, rec.welcome.Writer = 2, "target/n1"
	fill(t, seed(t), j, 10, 4096)
	o := w.options(j, w.receive(rec, "n1"))
	var seen []Welcome
	o.OnWelcome = func(w Welcome) { seen = append(seen, w) }
	err := NewSender(o).Run(context.Background())
	var fenced *FencedError
	if !errors.As(err, &fenced) || !errors.Is(err, redoubt.ErrFenced) || fenced.Welcome.Writer != "target/n1" || rec.appended != 0 || len(seen) != 1 {
		t.Fatalf("%v", err)
	}
}

func TestProbe(t *testing.T) {
	w := newWorld(t)
	rec := newRecorder(t)
	addr := w.receive(rec, "n1")
	conn, err := netmux.Dial(context.Background(), addr, netmux.ProtoShip, w.cred(pki.RoleSource, "host1"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	h := hello()
	h.Epoch = 1
	got, err := Probe(context.Background(), conn, h)
	if err != nil || got.Accepted || got.Epoch != 1 || got.Writer != "source/host1" || rec.open != 0 {
		t.Fatalf("%+v, %v", got, err)
	}
}

// The sink's errors reach the sender with their meaning; afterwards it goes on.
func TestSinkErrors(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	rec.broken = make(chan error)
	rec.fail = &redoubt.Error{Op: "store", Object: "shard", Hint: "add a node", Err: redoubt.ErrUnavailable}
	o := w.options(j, w.receive(rec, "n1"))
	s, _ := w.run(o)
	fill(t, seed(t), j, 10, 4096)
	rec.awaitLSN(10)
	rec.await("a second stream", func() bool { return len(rec.begins) >= 2 })
	// While the sender is silent: another epoch takes over.
	rec.change(func() { rec.noStream, rec.welcome.Reason = true, "no owner" })
	rec.broken <- &redoubt.Error{Op: "promote", Object: "g1", Hint: "look there", Err: redoubt.ErrFenced}
	await(t, "the reason", func() bool {
		st := s.Status()
		return !st.Connected && errors.Is(st.LastError, redoubt.ErrUnavailable)
	})
}

// Histories that do not fit are refused and nothing is shipped.
func TestHistoriesDiffer(t *testing.T) {
	for name, c := range map[string]struct {
		start, committed redoubt.LSN
		want             string
	}{
		"receiver is ahead": {0, 11, "histories differ"},
		"journal is gone":   {100, 50, "our journal begins at 101"},
	} {
		w := newWorld(t)
		j := w.journal(redoubt.Position{Epoch: 1, LSN: c.start})
		fill(t, seed(t), j, 10, 4096)
		rec := newRecorder(t)
		rec.committed.LSN = c.committed
		s, stop := w.run(w.options(j, w.receive(rec, "n1")))
		await(t, name, func() bool {
			st := s.Status()
			return errors.Is(st.LastError, redoubt.ErrGap) && contains(st.LastError, c.want) && redoubt.Hint(st.LastError) != ""
		})
		stop()
		if rec.appended != 0 || len(rec.begins) != 0 {
			t.Errorf("%s: %d deltas", name, rec.appended)
		}
	}
}

// An epoch that forked from an ancestor begins after the fork, even though the
// receiver has more of the ancestor.
func TestForkedEpoch(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 2, LSN: 40})
	rec := newRecorder(t)
	rec.welcome.Epoch = 2
	rec.welcome.Lineage = redoubt.Lineage{{Epoch: 1}, {Epoch: 2, Parent: 1, At: 40}}
	rec.committed = redoubt.Position{Epoch: 1, LSN: 60}
	rec.change(func() {})
	// The recorder's own history continues at the fork.
	o := w.options(j, w.receive(forkSink{rec}, "n1"))
	w.run(o)
	fill(t, rng, j, 10, 4096)
	rec.await("LSN 2:50", func() bool { return rec.committed == redoubt.Position{Epoch: 2, LSN: 50} })
	if !slices.Equal(rec.begins, []redoubt.LSN{41}) {
		t.Errorf("begins %v", rec.begins)
	}
}

// forkSink moves the recorder to the fork when a stream opens.
type forkSink struct{ *recorder }

func (f forkSink) Hello(ctx context.Context, peer pki.Identity, h Hello) (Welcome, Stream, error) {
	w, s, err := f.recorder.Hello(ctx, peer, h)
	f.change(func() {
		if f.committed.Epoch < h.Epoch {
			f.committed = redoubt.Position{Epoch: h.Epoch, LSN: w.resume(h.Epoch)}
		}
	})
	return w, s, err
}

// A slow link switches to zstd, and the limit holds.
func TestSlowLink(t *testing.T) {
	w := newWorld(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := newRecorder(t)
	o := w.options(j, w.receive(rec, "n1"))
	o.RateLimit, o.MaxDelta = 16<<20, 1<<20
	s, _ := w.run(o)
	rng := seed(t)
	ws := make([]redoubt.Write, 80)
	for i := range ws {
		p := make([]byte, 128<<10) // each its own: equal data would be shipped once
		for i := range p {
			p[i] = byte(rng.Uint32()) & 0x3f // 3/4 at best
		}
		ws[i] = redoubt.Write{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(i) << 20, Len: uint64(len(p))}, Data: p, CRC: redoubt.Checksum(p)}
	}
	begin := time.Now()
	if err := j.Append(ws); err != nil {
		t.Fatal(err)
	}
	rec.awaitLSN(80)
	st := s.Status()
	took := time.Since(begin)
	if rate := float64(st.BytesWire) / took.Seconds(); rate > 18<<20 {
		t.Errorf("%d bytes in %v: %.0f bytes/s", st.BytesWire, took, rate)
	}
	if st.Codec != CodecZstd || st.LinkRate > 18<<20 {
		t.Errorf("codec %s at %.0f bytes/s", st.Codec, st.LinkRate)
	}
	if st.BytesWire > st.BytesRaw*19/20 {
		t.Errorf("zstd saved nothing: %d of %d", st.BytesWire, st.BytesRaw)
	}
	t.Logf("%d raw, %d wire bytes in %v, link %.1f MB/s", st.BytesRaw, st.BytesWire, took, st.LinkRate/1e6)
}
