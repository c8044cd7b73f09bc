package plan

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// A daemon is killed before, or just after, each of its proposals in turn, and
// another one goes on: every run ends as if nothing had been, and no group was moved twice.
func TestKilledAtEveryStep(t *testing.T) {
	b := newBed(t, shop)
	b.start("n1", 0, false)
	number := uint64(0)
	for _, kind := range []catalog.RunKind{catalog.RunUnplanned, catalog.RunTest} {
		for _, after := range []bool{false, true} {
			for n := 1; ; n++ {
				victim := b.start("n2", n, after)
				r, err := victim.driver.Start(t.Context(), "shop", kind, catalog.RunFailover, "latest", "ann")
				if err != nil { // it was killed before the run began, or before it heard of that
					if n != 1 {
						t.Fatal(err)
					}
					if !after {
						noErr(t, victim.driver.Close())
						continue
					}
				}
				number++
				b.answer(number)
				over := b.finish(number)
				killed := victim.gone()
				b.judge(number, fmt.Sprintf("%s, killed at %d, after %v", kind, n, after))
				victim.kill()
				noErr(t, victim.driver.Close())
				if !killed {
					if n < 10 || over.Term != 1 {
						t.Fatalf("the daemon lived on after %d proposals, term %d", n, over.Term)
					}
					break
				}
				if r.Number != 0 && over.Term < 2 && !after {
					t.Fatalf("killed at %d, but nobody took over: term %d, %s", n, over.Term, over.State)
				}
			}
		}
	}
	t.Logf("%d runs", number)
}

// answer confirms what the run asks.
func (b *bed) answer(n uint64) {
	go func() {
		for range 60000 {
			r := b.run(n)
			if st := r.Step("db/post/ask"); st != nil && st.State == catalog.TaskWaiting {
				_, _ = b.node.Propose(b.Context(), Event(catalog.AdvanceRun{Plan: "shop", Number: n, Event: catalog.EventConfirm, By: "ann", Now: time.Now().UnixNano(),
					Step: catalog.RunStep{Key: "db/post/ask", State: catalog.TaskDone}}))
			}
			if r.State != catalog.RunRunning {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
}

// finish waits for the run's end, and takes it back.
func (b *bed) finish(n uint64) catalog.Run {
	b.Helper()
	b.ends(n, catalog.RunDone)
	b.world.mu.Lock()
	if b.world.moves != 3 || b.world.twice {
		b.Errorf("run %d: %d moves, a script twice at the same time: %v", n, b.world.moves, b.world.twice)
	}
	b.world.mu.Unlock()
	b.tell(catalog.AdvanceRun{Number: n, Event: catalog.EventCancel, Undo: true})
	return b.ends(n, catalog.RunUndone)
}

func (b *bed) judge(n uint64, what string) {
	b.Helper()
	r := b.run(n)
	for i := range r.Steps {
		if st := &r.Steps[i]; st.State != catalog.TaskDone {
			b.Fatalf("%s: step %s is %s: %s", what, st.Key, st.State, st.Error)
		}
	}
	w := b.world
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.open)+len(w.epoch) != 0 {
		b.Fatalf("%s: left behind %v %v", what, w.open, w.epoch)
	}
	ran := map[string]int{}
	for _, s := range w.scripts {
		ran[s]++
	}
	for i := range r.Steps {
		st := &r.Steps[i]
		if script := st.Type == catalog.TaskScript || st.Type == catalog.TaskSweep; script && (ran[st.Key] == 0 || uint64(ran[st.Key]) > st.Attempt) {
			b.Fatalf("%s: %s ran %d times in %d attempts", what, st.Key, ran[st.Key], st.Attempt)
		}
	}
	w.scripts, w.moves = nil, 0
}

func TestPlannedStopsAndResumes(t *testing.T) {
	b := newBed(t, shop)
	d := b.start("n1", 0, false)
	broken := map[string]bool{"stock": true}
	b.world.fail = func(step string) error {
		if broken[step] {
			return &redoubt.Error{Op: "move", Object: step, Err: errors.New("broken"), Hint: "mend it"}
		}
		return nil
	}
	r, err := d.driver.Start(t.Context(), "shop", catalog.RunPlanned, catalog.RunFailover, "latest", "ann")
	noErr(t, err)
	now := b.ends(r.Number, catalog.RunStopped)
	if st := now.Step("db/group/stock"); st.State != catalog.TaskFailed || st.Hint != "mend it" || now.Step("db/group/orders").State != catalog.TaskDone || now.Step("db/post/start").State != catalog.TaskPending {
		t.Fatalf("%+v", now)
	}
	b.world.mu.Lock()
	broken = map[string]bool{"web/post/dns": true}
	b.world.mu.Unlock()
	b.tell(catalog.AdvanceRun{Number: r.Number, Event: catalog.EventResume})
	b.answer(r.Number)
	b.until("dns to fail", func() bool { now := b.run(r.Number); return now.Step("web/post/dns").State == catalog.TaskFailed })
	b.ends(r.Number, catalog.RunStopped)
	b.tell(catalog.AdvanceRun{Number: r.Number, Event: catalog.EventResume, Step: catalog.RunStep{Key: "web/post/dns"}})
	now = b.ends(r.Number, catalog.RunDone)
	if st := now.Step("web/post/dns"); st.State != catalog.TaskSkipped || st.By != "operator/ann" || now.Step("db/group/orders").Attempt != 1 {
		t.Errorf("%+v", st)
	}

	// An unplanned run goes on, but for an action that says otherwise.
	r, err = d.driver.Start(t.Context(), "shop", catalog.RunTest, catalog.RunFailover, "2026-01-01T00:00:00Z", "ann")
	noErr(t, err)
	b.world.mu.Lock()
	broken = map[string]bool{"stock": true}
	b.world.points = nil
	b.world.mu.Unlock()
	now = b.ends(r.Number, catalog.RunFailed)
	if now.Step("web/group/pages").State != catalog.TaskDone {
		t.Errorf("%+v", now)
	}
	for _, p := range b.world.points {
		if p != "2026-01-01T00:00:00Z" {
			t.Errorf("a group was opened at %s", p)
		}
	}
}

func TestCancelInterruptsAndCleansUp(t *testing.T) {
	b := newBed(t, shop)
	d := b.start("n1", 0, false)
	b.world.block, b.world.down = "db/post/start", true
	r, err := d.driver.Start(t.Context(), "shop", catalog.RunTest, catalog.RunFailover, "latest", "ann")
	noErr(t, err)
	b.until("the script", func() bool { now := b.run(r.Number); return now.Step("db/post/start").State == catalog.TaskRunning })
	b.tell(catalog.AdvanceRun{Number: r.Number, Event: catalog.EventCancel})
	b.until("a failed close", func() bool { now := b.run(r.Number); return now.Step("db/close/orders").State == catalog.TaskFailed })
	now := b.run(r.Number)
	if st := now.Step("db/post/start"); st.State != catalog.TaskFailed || string(st.Output) != "interrupted" || st.Error != ErrCancelled.Error() {
		t.Errorf("%+v", st)
	}
	b.world.mu.Lock()
	b.world.down = false
	b.world.mu.Unlock()
	now = b.ends(r.Number, catalog.RunUndone)
	if len(b.world.open) != 0 || now.Step("db/close/orders").Attempt < 2 || now.Step("db/cleanup/halt").State != catalog.TaskDone {
		t.Errorf("%v, %+v", b.world.open, now)
	}
	if st := now.Step("web/close/pages"); st.State != catalog.TaskDone || string(st.Output) != "it was never opened" {
		t.Errorf("%+v", st)
	}
}

// A daemon that reaches no majority stops what it does before another one goes on.
func TestAloneItStops(t *testing.T) {
	b := newBed(t, shop)
	first := b.start("n2", 0, false)
	b.world.block = "db/post/start"
	r, err := first.driver.Start(t.Context(), "shop", catalog.RunTest, catalog.RunFailover, "latest", "ann")
	noErr(t, err)
	b.until("the script", func() bool {
		b.world.mu.Lock()
		defer b.world.mu.Unlock()
		return len(b.world.now) == 1
	})
	b.start("n1", 0, false)
	b.mu.Lock()
	b.alone["n2"] = true
	b.mu.Unlock()
	b.until("the takeover", func() bool {
		now := b.run(r.Number)
		st := now.Step("db/post/start")
		return now.Holder == "n1" && st.Attempt == 2
	})
	b.world.mu.Lock()
	defer b.world.mu.Unlock()
	// The first one shares the catalog here, and would hear of the takeover: it must not have waited for that.
	if b.world.twice || len(b.world.causes) == 0 || !errors.Is(b.world.causes[0], errAlone) {
		t.Errorf("the script ran twice at the same time: %v; it was given up for: %v", b.world.twice, b.world.causes)
	}
}

func TestNobodyConfirms(t *testing.T) {
	b := newBed(t, "version: 1\nname: shop\nstages: [{name: s, groups: [{name: orders}], post: [{name: ask, confirm: well?, timeout: 1s}]}]\n")
	d := b.start("n1", 0, false)
	r, err := d.driver.Start(t.Context(), "shop", catalog.RunPlanned, catalog.RunFailover, "latest", "ann")
	noErr(t, err)
	now := b.ends(r.Number, catalog.RunStopped)
	if st := now.Step("s/post/ask"); st.State != catalog.TaskFailed || st.Ended-st.Started < int64(time.Second) {
		t.Errorf("%+v", st)
	}
}

// A clock that was ten years ahead when the question was asked, and is set back then,
// does not have the run wait for ten years.
func TestNobodyConfirmsAndTheClockIsSetBack(t *testing.T) {
	b := newBed(t, "version: 1\nname: shop\nstages: [{name: s, groups: [{name: orders}], post: [{name: ask, confirm: well?, timeout: 1s}]}]\n")
	b.now = func() time.Time {
		if r, ok := b.node.Catalog().Run("shop", 1); ok && r.Step("s/post/ask").State == catalog.TaskWaiting {
			return time.Now()
		}
		return time.Now().Add(10 * 365 * 24 * time.Hour)
	}
	d := b.start("n1", 0, false)
	r, err := d.driver.Start(t.Context(), "shop", catalog.RunPlanned, catalog.RunFailover, "latest", "ann")
	noErr(t, err)
	now := b.ends(r.Number, catalog.RunStopped)
	if st := now.Step("s/post/ask"); st.State != catalog.TaskFailed || st.Error == "" {
		t.Errorf("%+v", st)
	}
}
