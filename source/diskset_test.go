package source

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/ship"
)

// The configuration adds disks and never removes one; numbers are used once; a
// removed disk comes again only after its line has gone.
func TestIdentityOfDisks(t *testing.T) {
	dir := t.TempDir()
	start := func(names ...string) (identity, []redoubt.Disk, error) {
		t.Helper()
		id, known, err := readIdentity(dir)
		if err != nil {
			t.Fatal(err)
		}
		var conf []DiskConfig
		for _, n := range names {
			conf = append(conf, DiskConfig{Name: n})
		}
		var want []redoubt.Disk
		for _, d := range id.linger(conf) {
			want = append(want, redoubt.Disk{Name: d.Name, Size: 1 << 20})
		}
		err = id.settle(dir, known, want)
		if err == nil { // as openGroup does for what lingers
			err = writeIdentity(filepath.Join(dir, identityFile), id)
		}
		return id, want, err
	}
	is := func(id identity, joining []redoubt.DiskID, numbers ...redoubt.DiskID) {
		t.Helper()
		var got []redoubt.DiskID
		for _, d := range id.Disks {
			got = append(got, d.ID)
		}
		if !slices.Equal(got, numbers) || !slices.Equal(id.Joining, joining) {
			t.Errorf("disks %v, joining %v; want %v, %v", got, id.Joining, numbers, joining)
		}
	}
	ok := func(id identity, want []redoubt.Disk, err error) identity {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if d, ok := id.disk(w.Name); !ok || d.ID != w.ID {
				t.Errorf("%s was opened as %d", w.Name, w.ID)
			}
		}
		return id
	}
	is(ok(start("a", "b")), nil, 1, 2)
	is(ok(start("b", "a")), nil, 1, 2) // the order does not matter
	_, _, err := start("a")
	if !errors.Is(err, redoubt.ErrInvalid) || !strings.Contains(redoubt.Hint(err), "redoubt disk remove GROUP b") {
		t.Errorf("without b: %v, %s", err, redoubt.Hint(err))
	}
	if _, _, err = start("a", "c"); !errors.Is(err, redoubt.ErrInvalid) { // b under another name
		t.Errorf("renamed: %v", err)
	}
	id := ok(start("c", "a", "b"))
	is(id, []redoubt.DiskID{3}, 1, 2, 3)
	id.Joining = nil // joined
	id.remove(id.Disks[1])
	if err := writeIdentity(filepath.Join(dir, identityFile), id); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		id = ok(start("a", "b", "c")) // the line is still there
		is(id, nil, 1, 3)
	}
	is(ok(start("a", "c")), nil, 1, 3)
	id = ok(start("a", "b", "c"))
	is(id, []redoubt.DiskID{4}, 1, 3, 4)
	if len(id.Gone) != 1 || id.Gone[0].ID != 2 || !slices.Equal(id.Leaving, []redoubt.DiskID{2}) {
		t.Errorf("gone %v, leaving %v", id.Gone, id.Leaving)
	}

	// The way back wants the old b, once the new one has gone.
	id.remove(id.Disks[2])
	id.Wanted = []redoubt.Disk{{ID: 2, Name: "b", Size: 1 << 20}}
	if err := writeIdentity(filepath.Join(dir, identityFile), id); err != nil {
		t.Fatal(err)
	}
	id = ok(start("a", "b", "c"))
	is(id, nil, 1, 2, 3)
	if !slices.Equal(id.Foreign, []redoubt.DiskID{2}) || len(id.Wanted) != 0 || slices.Contains(id.Leaving, 2) {
		t.Errorf("foreign %v, wanted %v, leaving %v", id.Foreign, id.Wanted, id.Leaving)
	}
	id.Next = 9
	if err := writeIdentity(filepath.Join(dir, identityFile), id); err != nil {
		t.Fatal(err)
	}
	is(ok(start("a", "b", "c", "d")), []redoubt.DiskID{9}, 1, 2, 3, 9)
}

// What the secondary says decides: a disk that it does not know is to join, a
// removed one that it knows is to leave, whatever was so before.
func TestSecondaryKnowsTheDisks(t *testing.T) {
	cfg := nbdConfig(t, "")
	image := filepath.Join(t.TempDir(), "more")
	if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	h, g := openOne(t, cfg)
	first := g.Disks()[0]
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	cfg.Groups[0].Disks = append(cfg.Groups[0].Disks, DiskConfig{Name: "more", Path: image})
	h, g = openOne(t, cfg)
	defer func() { h.Close() }()
	more, _ := g.identity().disk("more")
	if !g.isJoining(more.ID) || g.addedDisk() != "more" || len(g.members()) != len(g.Disks())-1 {
		t.Fatalf("added: %+v", g.identity())
	}
	if _, _, err := g.Grow(t.Context(), "more", 2<<20); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("it grew while it is added: %v", err)
	}
	if hello := g.hello(); len(hello.Members()) != len(g.Disks())-1 {
		t.Errorf("members in the hello: %v", hello.Members())
	}
	old := slices.Clone(g.members())
	w := ship.Welcome{Epoch: g.Role().Epoch, Disks: append(slices.Clone(old), more)}
	g.learnDisks(ship.Welcome{Epoch: w.Epoch + 1, Disks: w.Disks}) // of another epoch
	if !g.isJoining(more.ID) {
		t.Error("another epoch's word was taken")
	}
	g.learnDisks(w)
	if g.isJoining(more.ID) {
		t.Error("it has joined and nobody noticed")
	}
	w.Disks = old // production was at a point of before
	g.learnDisks(w)
	if !g.isJoining(more.ID) {
		t.Error("it must join again")
	}
	head := g.journal.Head().LSN
	if _, err := g.RemoveDisk(t.Context(), first.Name); !errors.Is(err, redoubt.ErrState) {
		t.Errorf("removed while the disks are copied: %v", err)
	}
	if _, err := g.RemoveDisk(t.Context(), "more"); err != nil {
		t.Fatal(err)
	}
	if got := g.journal.Head().LSN; got != head+1 || len(g.identity().Leaving) != 1 {
		t.Errorf("journal from %d to %d, %+v", head, got, g.identity())
	}
	if err := g.tellLeaving(); err != nil || g.journal.Head().LSN != head+1 {
		t.Errorf("told twice in one epoch: %v", err)
	}
	g.learnDisks(w)
	if len(g.identity().Leaving) != 0 {
		t.Error("it has left and nobody noticed")
	}
	w.Disks = append(slices.Clone(old), more)
	g.learnDisks(w)
	if !slices.Equal(g.identity().Leaving, []redoubt.DiskID{more.ID}) {
		t.Errorf("it must leave again: %+v", g.identity())
	}
	if err := g.checkWayBack(append(slices.Clone(old), more)); !errors.Is(err, redoubt.ErrState) || len(g.identity().Wanted) != 1 {
		t.Errorf("the way back lacks a disk: %v", err)
	}
	if err := g.checkWayBack(old); err != nil {
		t.Error(err)
	}
	// It is wanted now: the line that is still there gets it, under its number.
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	h, g = openOne(t, cfg)
	if f := g.foreign(); len(f) != 1 || f[0] != more || len(g.gone()) != 0 {
		t.Errorf("after a restart: %+v", g.identity())
	}
}

// A planned failover is refused while a disk is added, and changes nothing. Where
// the writers are stopped already, a disk joins or leaves when they write again.
func TestPlannedFailoverAndDisks(t *testing.T) {
	cfg := nbdConfig(t, "")
	h, _ := openOne(t, cfg)
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"more", "old"} {
		image := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(image, make([]byte, 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Groups[0].Disks = append(cfg.Groups[0].Disks, DiskConfig{Name: name, Path: image})
	}
	h, g := openOne(t, cfg)
	defer h.Close()
	p, head := &planned{g: g}, g.journal.Head()
	for _, step := range []string{"ship", "quiesce"} {
		p.report = nil
		p.act(t.Context(), &ship.JobOrder{ID: 7, Step: step, Limit: int64(time.Minute)})
		if r := p.report; r == nil || r.What != ship.JobRefused || !strings.Contains(r.Why, "disk more is being added") || r.Hint == "" {
			t.Errorf("at step %s: %+v", step, r)
		}
	}
	if _, stopped := g.held(); stopped || g.disks.ReadOnly() != nil || g.journal.Head() != head {
		t.Errorf("the refusal left traces: stopped %t, %v, head %s", stopped, g.disks.ReadOnly(), g.journal.Head())
	}
	w := ship.Welcome{Epoch: g.Role().Epoch, Disks: g.Disks()}
	g.learnDisks(w)
	p.report = nil
	if p.act(t.Context(), &ship.JobOrder{ID: 8, Step: "quiesce", Limit: int64(time.Minute)}); p.report.What != ship.JobStopped {
		t.Fatalf("it has joined: %+v", p.report)
	}
	// The secondary says that a removed disk is still there.
	old, _ := g.identity().disk("old")
	if err := g.changeIdentity(func(id *identity) { id.remove(old) }); err != nil {
		t.Fatal(err)
	}
	settle := func() redoubt.LSN {
		t.Helper()
		ctx, end := context.WithTimeout(t.Context(), 3*settlePoll)
		defer end()
		g.settleDisks(ctx)
		return g.journal.Head().LSN
	}
	head = g.journal.Head()
	if got := settle(); got != head.LSN {
		t.Errorf("stopped at %d, and the journal goes on to %d", head.LSN, got)
	}
	p.act(t.Context(), nil)
	if got := settle(); got != head.LSN+1 {
		t.Errorf("it goes on: the journal is at %d, want the leave at %d", got, head.LSN+1)
	}
}
