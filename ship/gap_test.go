package ship

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/journal"
)

// gapRecorder is a recorder that knows of gaps, as a store does.
type gapRecorder struct {
	*recorder
	after, whole redoubt.LSN // of the gap; whole is 0 while it is open
	met          bool        // there was one
}

func (g *gapRecorder) settle() {
	if g.met && g.whole == 0 && g.baseline > g.after {
		g.whole = g.baseline
	}
}

func (g *gapRecorder) Hello(ctx context.Context, peer pki.Identity, h Hello) (Welcome, Stream, error) {
	g.change(func() {
		g.settle()
		if !g.met && h.GivenUp > g.committed.LSN {
			g.met, g.after = true, g.committed.LSN
		}
		g.welcome.Gap = g.met && g.whole == 0
	})
	return g.recorder.Hello(ctx, peer, h)
}

// announcer catches up as a source does, a few blocks at a time, with baselines
// in between that end nothing: those of a copy that has nothing to do with it.
func announcer(t *testing.T, j *journal.Journal, s *Sender, rng *rand.Rand) {
	control := func(w redoubt.Write) redoubt.LSN {
		ws := []redoubt.Write{w}
		if err := j.Append(ws); err != nil {
			t.Error(err)
		}
		return ws[0].LSN
	}
	stop := time.Now().Add(30 * time.Second)
	for j.GivenUp() != 0 && time.Now().Before(stop) {
		st := s.Status()
		gap, ok := j.Gap()
		switch {
		case !ok || !st.Connected || !st.Gap || gap.Marker > st.Acked.LSN:
			time.Sleep(time.Millisecond)
		case gap.Dirty == 0:
			j.Mark(control(redoubt.Write{Kind: redoubt.KindBaseline}), gap.Serial)
		case rng.IntN(8) == 0:
			control(redoubt.Write{Kind: redoubt.KindBaseline})
		default:
			e, ok := j.NextDirty(1, rng.Uint64N(copySize), 64<<10)
			if !ok {
				continue
			}
			j.Announced(1, e)
			control(redoubt.Write{Disk: 1, Kind: redoubt.KindCopy, Extent: e})
			if rng.IntN(8) == 0 {
				if err := j.SaveGap(); err != nil {
					t.Error(err)
				}
			}
		}
	}
	if j.GivenUp() != 0 {
		t.Error("the gap does not end")
	}
}

// Records are given up, and the connection is cut again and again while the
// catch-up and more writes are under way: before the gap and behind it the
// content at every position is that of the disk.
func TestGap(t *testing.T) {
	for _, cuts := range []bool{false, true} {
		t.Run(map[bool]string{true: "cut", false: "whole"}[cuts], func(t *testing.T) { gapTest(t, cuts) })
	}
}

func gapTest(t *testing.T, cuts bool) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	d := newLiveDisk(rng, j)
	rec := &gapRecorder{recorder: newRecorder(t)}
	rec.durable = j.Durable
	prng := rand.New(rand.NewPCG(rng.Uint64(), 4))
	p := newProxy(t, w.receive(rec, "n1"), func() int64 {
		if !cuts {
			return 1 << 40
		}
		return prng.Int64N(2 << 20)
	})
	o := w.options(j, p.addr())
	o.Current = d
	wrng := rand.New(rand.NewPCG(rng.Uint64(), 3))
	writes := func(n int) {
		for range n {
			p := payload(wrng, 512*(1+wrng.IntN(16)))
			span := copySize
			if wrng.IntN(2) == 0 {
				span = copySize / 16 // hot
			}
			d.write(t, wrng.IntN((span-len(p))/512)*512, p)
		}
	}
	writes(100)
	before := j.Head().LSN
	_, stop := w.run(o)
	rec.awaitLSN(before)
	stop()
	writes(300)
	cur, err := j.Cursor(o.Cursor, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := cur.GiveUp(j.Head().LSN - 50); err != nil {
		t.Fatal(err)
	}
	writes(100)
	s, _ := w.run(o)
	done := make(chan struct{})
	arng := rand.New(rand.NewPCG(wrng.Uint64(), 5))
	go func() { defer close(done); announcer(t, j, s, arng) }()
	writes(200)
	<-done
	writes(50)
	end := j.Head().LSN
	rec.awaitLSN(end)
	rec.change(rec.settle)
	if !rec.met || rec.after != before || rec.whole == 0 || rec.whole > end {
		t.Fatalf("gap after %d, whole from %d; the last write before was %d, the end is %d", rec.after, rec.whole, before, end)
	}
	for _, l := range []redoubt.LSN{1, before / 2, before, rec.whole, rec.whole + (end-rec.whole)/2, end} {
		if !bytes.Equal(apply(bytes.Clone(d.before), rec.writes, l), d.at(l)) {
			t.Fatalf("gap after %d, whole from %d: at %d the copy differs from the disk", rec.after, rec.whole, l)
		}
	}
}

// What was given up while it was on its way, and arrived, leaves no gap.
func TestGapThatWasNone(t *testing.T) {
	w := newWorld(t)
	rng := seed(t)
	j := w.journal(redoubt.Position{Epoch: 1})
	rec := &gapRecorder{recorder: newRecorder(t)}
	p := newProxy(t, w.receive(rec, "n1"), nil)
	o := w.options(j, p.addr())
	o.PeerTimeout = time.Minute
	fill(t, rng, j, 20, 4096)
	w.run(o)
	rec.awaitLSN(20)
	p.freeze(true)
	fill(t, rng, j, 20, 4096)
	cur, err := j.Cursor(o.Cursor, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := cur.GiveUp(30); err != nil {
		t.Fatal(err)
	}
	p.freeze(false)
	rec.awaitLSN(40)
	limit := time.Now().Add(20 * time.Second)
	for j.GivenUp() != 0 && time.Now().Before(limit) {
		time.Sleep(time.Millisecond)
	}
	if j.GivenUp() != 0 && !rec.met {
		t.Fatal("the journal waits for the end of a gap that never was")
	}
}
