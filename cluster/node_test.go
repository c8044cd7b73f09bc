package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

func TestProposeFromEveryNode(t *testing.T) {
	s := newSite(t, 3)
	for i, h := range s.nodes {
		id := fmt.Sprintf("g%d", i)
		if g := s.propose(h, createG(id)).(catalog.Group); g.ID != redoubt.GroupID(id) {
			t.Errorf("%s: %+v", h, g)
		}
		if _, ok := h.node.Catalog().Group(redoubt.GroupID(id)); !ok {
			t.Errorf("%s does not see what it proposed", h)
		}
		s.commitNext(h, redoubt.GroupID(id), 7)
	}
	_, err := s.follower().node.Propose(t.Context(), catalog.SetOwner{Group: "none", Node: "n1", Term: 1})
	if !errors.Is(err, redoubt.ErrNotFound) || redoubt.Hint(err) == "" {
		t.Errorf("a verdict over the wire: %v, hint %q", err, redoubt.Hint(err))
	}
	s.sameEverywhere()
}

func TestConcurrentProposals(t *testing.T) {
	s := newSite(t, 3)
	const groups, rounds = 6, 20
	var wg sync.WaitGroup
	for i := range groups {
		h := s.nodes[i%3]
		id := redoubt.GroupID(fmt.Sprintf("g%d", i))
		s.propose(h, createG(string(id)))
		wg.Go(func() {
			for range rounds {
				s.commitNext(h, id, 3)
			}
		})
	}
	wg.Wait()
	s.sameEverywhere()
	for _, g := range s.nodes[0].node.Catalog().Groups() {
		if g.Committed.LSN != 3*rounds {
			t.Errorf("%s: %v", g.ID, g.Committed)
		}
	}
}

func TestLeaderDies(t *testing.T) {
	s := newSite(t, 3)
	l := s.leader()
	s.propose(l, createG("g"))
	s.commitNext(l, "g", 5)
	f := s.follower()
	l.kill()
	began := time.Now()
	noErr(t, f.node.Barrier(t.Context()))
	s.commitNext(f, "g", 5)
	t.Logf("the first commit after the leader's death took %v", time.Since(began).Round(time.Millisecond))
	l.start()
	s.sameEverywhere()
	if g, _ := l.node.Catalog().Group("g"); g.Committed.LSN != 10 {
		t.Errorf("after its return: %v", g.Committed)
	}
}

func TestLeaderHandsOverOnClose(t *testing.T) {
	s := newSite(t, 3)
	l := s.leader()
	s.propose(l, createG("g"))
	noErr(t, l.node.Close())
	if _, err := l.node.Propose(t.Context(), createG("h")); !errors.Is(err, redoubt.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	l.node = nil
	l.closePort()
	l = s.leader()
	noErr(t, l.node.Barrier(t.Context()))
	s.commitNext(l, "g", 5)
}

func TestFollowerCatchesUpFromSnapshot(t *testing.T) {
	s := newSite(t, 3)
	f := s.follower()
	l := s.leader()
	s.propose(l, createG("g"))
	f.kill()
	// More than the log keeps behind a snapshot, so that the log alone cannot help.
	for range 4 {
		for range 50 {
			s.commitNext(l, "g", 2)
		}
		noErr(t, l.node.Snapshot())
	}
	f.start()
	s.eventually(func() bool { return f.node.Catalog().SegmentCount("g", 1) == 200 }, "catching up")
	s.sameEverywhere()
	if first, err := l.node.store.log.FirstIndex(); err != nil || first < 50 {
		t.Errorf("the leader's log begins at %d, %v: the follower did not need the snapshot", first, err)
	}
	if r, err := Verify(l.dir); err != nil || r.Snapshots == 0 || r.Entries < 100 {
		t.Errorf("the leader's folder: %+v, %v", r, err)
	}
}

func TestRestartOfAllKeepsTheCatalog(t *testing.T) {
	s := newSite(t, 3)
	s.propose(s.nodes[0], createG("g"))
	for range 100 {
		s.commitNext(s.nodes[0], "g", 2)
	}
	s.sameEverywhere()
	before := s.nodes[0].image()
	for _, h := range s.nodes {
		h.kill()
	}
	for _, h := range s.nodes {
		h.start()
	}
	s.sameEverywhere()
	if s.nodes[0].image() != before {
		t.Error("the catalog differs after the restart")
	}
	var out bytes.Buffer
	noErr(t, Dump(s.nodes[0].dir, &out))
	for _, want := range []string{`"command":"CommitSegments"`, `"command":"CreateGroup"`, `"command":"PutNode"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the dump lacks %s", want)
		}
	}
}

// Every success of a compare-and-swap must be a success in the catalog and
// the other way round, however often the leader is lost meanwhile.
func TestRetriesApplyOnce(t *testing.T) {
	s := newSite(t, 3)
	s.propose(s.nodes[0], createG("g"))
	var done, failed atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	halt := sync.OnceFunc(func() { close(stop) })
	defer halt()
	for i, h := range s.nodes {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				g, _ := h.node.Catalog().Group("g")
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
				_, err := h.node.Propose(ctx, catalog.SetOwner{Group: "g", Node: nodeName(i), Term: g.OwnerTerm})
				cancel()
				switch {
				case err == nil:
					done.Add(1)
				case !errors.Is(err, redoubt.ErrFenced):
					failed.Add(1)
					t.Errorf("%s: %v", h, err)
				}
			}
		})
	}
	for range 3 {
		l := s.leader()
		target := done.Load() + 20
		s.eventually(func() bool { return done.Load() > target || failed.Load() > 0 }, "progress")
		l.isolate(true)
		s.leader()
		target = done.Load() + 20
		s.eventually(func() bool { return done.Load() > target || failed.Load() > 0 }, "progress without the old leader")
		l.isolate(false)
	}
	halt()
	wg.Wait()
	s.sameEverywhere()
	g, _ := s.nodes[0].node.Catalog().Group("g")
	t.Logf("%d changes of owner over three lost leaders", done.Load())
	// The leader's own duty may have replaced an owner that it could not reach; those come with a log line, not with done.
	if extra := int64(g.OwnerTerm) - 1 - done.Load(); extra < 0 || extra > 6 {
		t.Errorf("owner term %d after %d successful changes", g.OwnerTerm, done.Load())
	}
}

func TestOwnerIsReplaced(t *testing.T) {
	s := newSite(t, 3)
	for i := range 9 {
		s.propose(s.nodes[0], createG(fmt.Sprintf("g%d", i)))
	}
	f := s.follower()
	l := s.leader()
	began := time.Now()
	f.kill()
	s.eventually(func() bool {
		for _, g := range l.node.Catalog().Groups() {
			if g.Owner == f.id {
				return false
			}
		}
		return true
	}, "new owners")
	t.Logf("owners replaced after %v (limit 1 s)", time.Since(began).Round(time.Millisecond))
	load := map[redoubt.NodeID]int{}
	for _, g := range l.node.Catalog().Groups() {
		load[g.Owner]++
	}
	if len(load) != 2 || load[l.id] < 4 || load[l.id] > 5 {
		t.Errorf("groups per owner: %v", load)
	}
	if l.node.Alive(f.id) {
		t.Error("the dead node counts as alive")
	}
	f.start()
	s.eventually(func() bool { return l.node.Alive(f.id) }, "being seen again")
	for _, n := range l.node.Status().Nodes {
		if !n.Alive || n.ID != l.id && n.Role != "Follower" {
			t.Errorf("status: %+v", n)
		}
	}
}

func TestNoMajorityIsUnavailable(t *testing.T) {
	s := newSite(t, 3)
	s.propose(s.nodes[0], createG("g"))
	s.nodes[1].kill()
	s.nodes[2].kill()
	ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
	defer cancel()
	_, err := s.nodes[0].node.Propose(ctx, createG("h"))
	if !errors.Is(err, redoubt.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) || redoubt.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
	short, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := s.nodes[0].node.Barrier(short); err == nil {
		t.Error("a barrier without a majority")
	}
	if _, ok := s.nodes[0].node.Catalog().Group("g"); !ok {
		t.Error("the old catalog cannot be read")
	}
}

func TestWipedNodeIsRefused(t *testing.T) {
	s := newSite(t, 3)
	f := s.follower()
	f.kill()
	f.dir = t.TempDir()
	f.listen(f.addr)
	_, err := f.tryOpen()
	if !errors.Is(err, redoubt.ErrExists) || redoubt.Hint(err) == "" {
		t.Errorf("got %v", err)
	}
}

func TestFolderIsLockedAndNamed(t *testing.T) {
	s := newSite(t, 3)
	h := s.nodes[0]
	o := h.node.o
	other, err := lockDir(h.dir)
	if !errors.Is(err, redoubt.ErrUnavailable) {
		t.Errorf("second lock: %v, %v", other, err)
	}
	if _, err := loadIdentity(h.dir, "another"); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("another id: %v", err)
	}
	o.ID = "../x"
	if _, err := Open(o); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("bad id: %v", err)
	}
}
