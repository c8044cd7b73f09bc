package systest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// shot is the group's disks at a position: name to hash.
type shot struct {
	at    redoubt.Position
	disks map[string]string
}

// shoot notes the source's disks, of which nobody writes.
func (b *bed) shoot(n *site.Node) shot {
	b.Helper()
	g := b.inStateAt(n, "Protected")
	s := shot{redoubt.Position{Epoch: redoubt.Epoch(g.Epoch), LSN: redoubt.LSN(g.Head.Lsn)}, map[string]string{}}
	for _, d := range g.Disks {
		s.disks[d.Name] = b.hash(d)
	}
	b.committed(s.at.LSN)
	return s
}

// matches compares exported disks with a shot: these and no others.
func (b *bed) matches(exported []*adminv1.Disk, s shot) {
	b.Helper()
	got := map[string]string{}
	for _, d := range exported {
		got[d.Name] = b.hash(d)
	}
	if !maps.Equal(got, s.disks) {
		b.Errorf("at %s disks %v, want %v", s.at, got, s.disks)
	}
}

// opens opens the shot's point at n.
func (b *bed) opens(n *site.Node, shots ...shot) {
	b.Helper()
	for _, s := range shots {
		r := &adminv1.TestFailoverResponse{}
		b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", s.at.String()))
		b.matches(r.Export.Disks, s)
		b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName, r.Export.Id))
	}
}

// disksAre waits until the group has these disks at both sites, and nothing is
// being added.
func (b *bed) disksAre(n *site.Node, names ...string) {
	b.Helper()
	for _, n := range []*site.Node{b.site.Source, n} {
		b.wait(n, "disks "+strings.Join(names, ", ")+" at "+n.Name, func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			var got []string
			for _, d := range g.GetDisks() {
				if got = append(got, d.Name); d.Joining != nil {
					return fmt.Errorf("%s is being added: %v", d.Name, d.Joining)
				}
			}
			if slices.Sort(got); !slices.Equal(got, names) {
				return fmt.Errorf("they are %v", got)
			}
			return nil
		})
	}
}

// killed waits until the node has died at its point.
func (b *bed) killed(n *site.Node) {
	b.Helper()
	b.until(func() bool { return !n.Alive() })
	n.Kill()
}

// A disk is added and one removed while others are written to, with the source
// killed at every step of it and the group's owner in the middle of the copy. Each
// point has exactly the disks that it had, also after a failover and on the way back.
func TestDisksComeAndGo(t *testing.T) {
	b := newBed(t)
	src, tgt := b.site.Source, b.site.Targets[0]
	start := func(point string) {
		b.Helper()
		src.Kill()
		src.Env = []string{crashpoint.Env + "=" + point}
		b.must(src.Start())
	}
	b.change(50)
	before := b.shoot(src)
	a, old := b.site.Disks[0], b.site.Disks[1]

	// A line that is missing is a slip.
	b.must(b.site.SetDisks(a))
	src.Kill()
	b.must(src.Start())
	b.killed(src)
	if log := src.LogTail(20); !strings.Contains(log, "redoubt disk remove") {
		t.Fatalf("it started without a disk: %s", log)
	}
	c := b.image("c", 34<<20) // more than is announced at once
	b.must(b.site.SetDisks(a, old, c))
	start("source.join.begun")
	b.killed(src)
	_, g, err := b.site.Status(b.ctx, tgt)
	b.must(err)
	owner := tgt
	for _, n := range b.site.Targets {
		if n.Name == g.Owner {
			owner = n
		}
	}
	tgt = b.other(owner)
	start("source.join.copied")
	var client *oracle.Client
	b.until(func() bool { client, err = oracle.Dial(b.ctx, b.socket(), "c"); return err == nil })
	b.must(owner.Signal(syscall.SIGSTOP)) // or the copy may end before it dies
	b.must(client.Write([]byte(strings.Repeat("copying.", 512)), 4096, true))
	b.must(client.Close())
	stop := b.scribble()
	owner.Kill()
	defer func() { b.must(owner.Start()) }()
	b.killed(src)
	_ = stop() // its socket is gone
	start("source.join.told")
	b.killed(src)
	start("")
	b.disksAre(tgt, "a", "b", "c")
	b.put(b.source("c"), []byte(strings.Repeat("joined..", 512)), 1<<20)
	joined := b.shoot(src)
	if r := b.disk(tgt, "c"); r.Id != 3 {
		t.Errorf("c has number %d", r.Id)
	}

	// The other goes.
	for _, bad := range []struct {
		n          *site.Node
		name, want string
	}{{src, "x", "not_found"}, {tgt, "b", ""}} {
		if err := b.site.Call(b.ctx, bad.n, nil, "disk", "remove", groupName, bad.name); err == nil || !strings.Contains(err.Error(), bad.want) {
			t.Errorf("remove %s at %s: %v", bad.name, bad.n.Name, err)
		}
	}
	for _, at := range []string{"source.remove.closed", "source.remove.durable"} {
		start(at)
		b.inStateAt(src, "Protected")
		client, err = oracle.Dial(b.ctx, b.source("b").Socket, "b")
		b.must(err)
		stop := b.scribble()
		if err := b.site.Call(b.ctx, src, nil, "disk", "remove", groupName, "b"); err == nil {
			t.Fatal("nobody was killed")
		}
		b.killed(src)
		_ = stop()
		if err := client.Write(make([]byte, 512), 0, true); err == nil {
			t.Error("a client of the removed disk was not told")
		}
		client.Close()
	}
	start("source.remove.journaled") // the configuration names it still
	b.killed(src)
	start("")
	b.disksAre(tgt, "a", "c")
	if f, err := os.ReadFile(old.Path); err != nil || fmt.Sprintf("%x", sha256.Sum256(f)) != joined.disks["b"] {
		t.Errorf("the image of the removed disk has changed: %v", err)
	}
	b.must(b.site.SetDisks(a, c))
	start("")
	b.inStateAt(src, "Protected")
	b.put(b.source("a"), []byte(strings.Repeat("removed.", 512)), 8192)
	removed := b.shoot(src)
	b.opens(tgt, before, joined, removed)

	// Production goes to points on either side of the changes.
	fo := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, tgt, fo, "failover", "unplanned", groupName, "--at", before.at.String()))
	b.matches(fo.Export.Disks, before)
	ch := &adminv1.ChangeRecoveryPointResponse{}
	b.must(b.site.Call(b.ctx, tgt, ch, "failover", "change", groupName, "--at", removed.at.String()))
	b.matches(ch.Export.Disks, removed)
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "commit", groupName))
	b.put(disk(t, ch.Export.Disks, "c"), []byte(strings.Repeat("there...", 512)), 2<<20)
	b.inStateAt(src, "Fenced")
	b.must(b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"))
	b.must(b.site.Call(b.ctx, tgt, nil, "failback", groupName))
	b.disksAre(tgt, "a", "c")
	b.equalSites(tgt)

	// One of the same name is another disk.
	again := b.image("b", 4<<20)
	b.must(b.site.SetDisks(a, again, c))
	start("")
	b.disksAre(tgt, "a", "b", "c")
	if r := b.disk(tgt, "b"); r.Id != 4 || r.Size != 4<<20 {
		t.Errorf("the new b has number %d, %d bytes", r.Id, r.Size)
	}
	b.equalSites(tgt)

	// It goes, and production to a point that has it: the way back needs it.
	second := b.shoot(src)
	b.must(b.site.Call(b.ctx, src, nil, "disk", "remove", groupName, "b"))
	b.disksAre(tgt, "a", "c")
	b.must(b.site.Call(b.ctx, tgt, fo, "failover", "unplanned", groupName, "--at", second.at.String()))
	b.matches(fo.Export.Disks, second)
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "commit", groupName))
	b.inStateAt(src, "Fenced")
	if err := b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"); err == nil || !strings.Contains(err.Error(), "name disk b in the configuration") {
		t.Fatalf("the way back without a disk: %v", err)
	}
	start("") // the line is still there, so it is the old disk again
	b.must(b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"))
	b.must(b.site.Call(b.ctx, tgt, nil, "failback", groupName))
	b.disksAre(tgt, "a", "b", "c")
	b.equalSites(tgt)
	b.opens(tgt, before)
}

// disk returns a disk as the node knows it.
func (b *bed) disk(n *site.Node, name string) *adminv1.Disk {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, n)
	b.must(err)
	for _, d := range g.Disks {
		if d.Name == name {
			return d
		}
	}
	b.Fatalf("no disk %s at %s: %v", name, n.Name, g.Disks)
	return nil
}
