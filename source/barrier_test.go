package source

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/target/barrier"
)

// fleet is several hosts of one group each, and chains of writes over them: the
// next write of a chain begins when the one before is acknowledged, on another host.
type fleet struct {
	t      *testing.T
	groups []*Group
	acks   atomic.Uint64
	stop   chan struct{}
	ended  sync.WaitGroup
}

const chains = 4

func newFleet(t *testing.T, set func(i int, c *Config)) *fleet {
	t.Helper()
	f := &fleet{t: t, stop: make(chan struct{})}
	for i := range 3 {
		cfg := nbdConfig(t, "")
		cfg.Name = fmt.Sprintf("host%d", i+1)
		cfg.Groups[0].JournalMax = 1 << 30 // nothing is trimmed: the judge reads it
		cfg.Groups[0].SegmentSize = 16 << 20
		if set != nil {
			set(i, &cfg)
		}
		h, err := Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		})
		f.groups = append(f.groups, h.Groups()[0])
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for c := range chains {
		rng := rand.New(rand.NewPCG(seed, uint64(c)))
		f.ended.Go(func() { f.chain(c, rng) })
	}
	t.Cleanup(f.quiet)
	return f
}

// chain writes 1, 2, 3, … to random hosts.
func (f *fleet) chain(c int, rng *rand.Rand) {
	for n := uint64(1); ; n++ {
		select {
		case <-f.stop:
			return
		default:
		}
		p := make([]byte, 512)
		binary.LittleEndian.PutUint64(p, uint64(c))
		binary.LittleEndian.PutUint64(p[8:], n)
		v := f.groups[rng.IntN(len(f.groups))].disks.Volumes()[0]
		if err := v.Write(p, uint64(c*100+rng.IntN(100))*512, false); err != nil {
			f.t.Errorf("chain %d, write %d: %v", c, n, err)
			return
		}
		f.acks.Add(1)
		time.Sleep(time.Duration(rng.IntN(300)) * time.Microsecond) // the journals keep it all
	}
}

func (f *fleet) quiet() {
	select {
	case <-f.stop:
	default:
		close(f.stop)
	}
	f.ended.Wait()
}

// busy waits until every chain has gone on for a while.
func (f *fleet) busy() {
	for from := f.acks.Load(); f.acks.Load() < from+100; {
		time.Sleep(time.Millisecond)
	}
}

// entry is a write of a chain as a journal has it.
type entry struct {
	lsn   redoubt.LSN
	chain uint64
	n     uint64
}

// history ends the chains and reads the journals.
func (f *fleet) history() (out [][]entry) {
	f.t.Helper()
	f.quiet()
	for _, g := range f.groups {
		var es []entry
		err := g.journal.Replay(1, func(w *redoubt.Write) error {
			if w.Kind == redoubt.KindWrite {
				es = append(es, entry{w.LSN, binary.LittleEndian.Uint64(w.Data), binary.LittleEndian.Uint64(w.Data[8:])})
			}
			return nil
		})
		if err != nil {
			f.t.Fatal(err)
		}
		out = append(out, es)
	}
	return out
}

// judge looks at what each group had at its point: of every chain the first so
// many writes, without one missing. It returns the first that is.
func judge(history [][]entry, at []redoubt.Position) (bad string) {
	var seen [chains]map[uint64]bool
	for c := range seen {
		seen[c] = map[uint64]bool{}
	}
	for i, es := range history {
		for _, e := range es {
			if e.lsn <= at[i].LSN {
				seen[e.chain][e.n] = true
			}
		}
	}
	for c, have := range seen {
		for n := range uint64(len(have)) {
			if !have[n+1] {
				return fmt.Sprintf("chain %d: write %d is missing, though there are %d", c, n+1, len(have))
			}
		}
	}
	return ""
}

// member is a group of this process as barrier.Run sees it.
type member struct {
	g    *Group
	mark redoubt.Bookmark
	slow time.Duration // before Hold
	open bool          // place the bookmark without a hold
	at   redoubt.Position
}

func (m *member) Group() redoubt.GroupID { return m.g.cfg.Name }

func (m *member) Freeze(ctx context.Context) error {
	_, err := m.g.BarrierFreeze(ctx, m.mark)
	return err
}

func (m *member) Hold(ctx context.Context, limit time.Duration) (p redoubt.Position, err error) {
	time.Sleep(m.slow)
	if m.open {
		b, err := m.g.mark(ctx, m.mark, nil)
		m.at = b.Position
		return m.at, err
	}
	return m.g.BarrierHold(ctx, m.mark, limit)
}

func (m *member) Release(ctx context.Context) (barrier.Released, error) {
	if m.open {
		return barrier.Released{Position: m.at}, nil
	}
	r, err := m.g.BarrierRelease(ctx, m.mark.Set)
	return barrier.Released{Position: r.Position, Held: r.Held, Frozen: r.Hooks.Frozen}, err
}

func (m *member) Abort(context.Context) error {
	m.g.BarrierAbort(m.mark.Set)
	return nil
}

func (f *fleet) members(n int, set func(i int, m *member)) (out []barrier.Peer) {
	for i, g := range f.groups {
		m := &member{g: g, mark: redoubt.Bookmark{Name: "x", Set: redoubt.SetID{1, byte(n)}}}
		if set != nil {
			set(i, m)
		}
		out = append(out, m)
	}
	return out
}

func positions(r barrier.Result) (at []redoubt.Position) {
	for _, m := range r.Members {
		at = append(at, m.Position)
	}
	return at
}

func TestOneInstantOfSeveralHosts(t *testing.T) {
	f := newFleet(t, nil)
	var longest time.Duration
	var sets [][]redoubt.Position
	for n := range 20 {
		f.busy()
		r, err := barrier.Run(t.Context(), f.members(n, func(i int, m *member) { m.slow = time.Duration(n%3) * time.Duration(i) * time.Millisecond }), barrier.Options{Hold: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		longest = max(longest, r.Barrier)
		sets = append(sets, positions(r))
	}
	history := f.history()
	for n, at := range sets {
		if bad := judge(history, at); bad != "" {
			t.Errorf("set %d at %v: %s", n, at, bad)
		}
	}
	t.Logf("20 sets among %d writes; the longest barrier took %s", f.acks.Load(), longest)
}

// TestTheJudgeSeesAMissingHold shows that the judge can fail: bookmarks of the
// same moment, without the hold.
func TestTheJudgeSeesAMissingHold(t *testing.T) {
	f := newFleet(t, nil)
	var sets [][]redoubt.Position
	for n := range 100 {
		f.busy()
		r, err := barrier.Run(t.Context(), f.members(n, func(i int, m *member) { m.open, m.slow = true, time.Duration(i)*time.Millisecond }), barrier.Options{})
		if err != nil {
			t.Fatal(err)
		}
		sets = append(sets, positions(r))
	}
	history, found := f.history(), 0
	for _, at := range sets {
		if judge(history, at) != "" {
			found++
		}
	}
	t.Logf("the judge finds %d of %d sets wrong", found, len(sets))
	if found == 0 {
		t.Error("the judge sees nothing")
	}
}

// TestASetThatFailsLetsEverybodyGoOn has one host that is too slow, and one
// that refuses: no writer gets an error, nobody stays held or frozen.
func TestASetThatFailsLetsEverybodyGoOn(t *testing.T) {
	f := newFleet(t, func(i int, c *Config) {
		dir := t.TempDir()
		body := "#!/bin/sh\n"
		if i == 2 {
			body += `[ "$1" = thaw ] || { echo refused; exit 1; }`
		}
		if err := os.WriteFile(filepath.Join(dir, "hook"), []byte(body), 0o755); err != nil {
			t.Fatal(err)
		}
		c.Groups[0].Hooks = Hooks{Scripts: hook.Dir(dir), Time: time.Minute, Hold: time.Minute}
	})
	free := func() {
		t.Helper()
		f.busy() // writes go on
		for _, g := range f.groups {
			if !g.Bookmarks().FrozenSince.IsZero() {
				t.Error("something is still frozen")
			}
			if h, err := g.disks.Hold(time.Second); err != nil {
				t.Error(err)
			} else if _, err := h.Release(); err != nil {
				t.Error(err)
			}
		}
	}
	f.busy()
	_, err := barrier.Run(t.Context(), f.members(1, func(i int, m *member) { m.slow = time.Duration(i) * 200 * time.Millisecond }), barrier.Options{Hold: 100 * time.Millisecond})
	if !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("a host that is too slow: %v", err)
	}
	free()
	_, err = barrier.Run(t.Context(), f.members(2, nil), barrier.Options{App: true})
	if !errors.Is(err, redoubt.ErrScript) {
		t.Errorf("a hook that refuses: %v", err)
	}
	if m := f.groups[2].Bookmarks(); m.Failed != 1 || !errors.Is(m.Err, redoubt.ErrScript) {
		t.Errorf("counted where the hook refused: %+v", m)
	}
	free()
	if _, err := barrier.Run(t.Context(), f.members(5, nil), barrier.Options{Hold: 10 * time.Second}); err != nil {
		t.Fatal(err)
	}
	for i, g := range f.groups {
		if m := g.Bookmarks(); m.Crash == 0 || m.Err != nil {
			t.Errorf("host %d counted of a set that is whole: %+v", i, m)
		}
	}
	// One set at a time; the second is told so, the first is not disturbed.
	first, second := f.members(3, nil), f.members(4, nil)
	if _, err := first[0].Hold(t.Context(), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := barrier.Run(t.Context(), second, barrier.Options{Hold: time.Second}); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("a second set: %v", err)
	}
	if r, err := first[0].Release(t.Context()); err != nil || r.Held <= 0 {
		t.Errorf("the first: %+v, %v", r, err)
	}
	if _, err := first[0].Release(t.Context()); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("release again: %v", err)
	}
	// A coordinator that died: the hold ends by itself, and so does the part.
	if _, err := first[0].Hold(t.Context(), 50*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	f.busy()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err = second[0].Hold(t.Context(), time.Second); err == nil || time.Now().After(deadline) {
			break
		}
	}
	if err != nil {
		t.Errorf("after a dead coordinator: %v", err)
	}
	_ = second[0].Abort(t.Context())
}
