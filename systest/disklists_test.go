package systest

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/crashpoint"
)

// image makes an image for a disk that is to be added.
func (b *bed) image(name string, size int64) site.Disk {
	b.Helper()
	d := site.Disk{Name: name, Path: filepath.Join(b.dir, name)}
	b.must(site.MakeRaw(d.Path, size, b.seed+uint64(size)))
	return d
}

// again starts the source with other disks in its configuration.
func (b *bed) again(disks ...site.Disk) {
	b.Helper()
	b.must(b.site.SetDisks(disks...))
	b.site.Source.Kill()
	b.must(b.site.Source.Start())
}

// refusal runs a command, which must fail with the text in its message or hint.
func (b *bed) refusal(n *site.Node, want string, args ...string) {
	b.Helper()
	if err := b.site.Call(b.ctx, n, nil, args...); err == nil || !strings.Contains(err.Error(), want) {
		b.Errorf("%v: %v, want %q", args, err, want)
	}
}

// exports writes a disk at a point, or of a branch, to a file and returns its hash.
func (b *bed) exports(n *site.Node, disk string, of ...string) string {
	b.Helper()
	file := filepath.Join(b.dir, "exported")
	b.must(b.site.Call(b.ctx, n, nil, append([]string{"export", "--to", file, "--force", groupName + "/" + disk}, of...)...))
	return b.hashFile(file)
}

func (b *bed) hashFile(path string) string {
	b.Helper()
	f, err := os.ReadFile(path)
	b.must(err)
	return fmt.Sprintf("%x", sha256.Sum256(f))
}

// A disk has joined and another has left when production goes to a point of
// before. What the operator is told has the right disks: points, files, checks,
// comparisons, the loss receipt of both sides, and the old primary's branch.
func TestListsOfDisksThatCameAndWent(t *testing.T) {
	log := filepath.Join(t.TempDir(), "log")
	b := newBedOf(t, site.Options{Checks: scripts(t, map[string]string{"names": `set -u; i=1; while [ $i -le $REDOUBT_DISKS ]; do eval echo \$REDOUBT_DISK_${i}_NAME; i=$((i+1)); done >` + log})})
	src, tgt := b.site.Source, b.site.Targets[0]
	a, old, c := b.site.Disks[0], b.site.Disks[1], b.image("c", 6<<20)
	b.change(30)
	before := b.shoot(src)
	b.again(a, old, c)
	b.disksAre(tgt, "a", "b", "c")
	verify := func() {
		t.Helper()
		r := &adminv1.VerifyStatus{}
		b.must(b.site.Call(b.ctx, src, r, "verify", groupName))
		v := r.GetLast()
		if v.GetDifferingBlocks() != 0 || !v.GetCompared() {
			t.Errorf("verify: %v", r)
		}
		t.Logf("%d blocks compared at %d:%d", v.GetBlocks(), v.GetEpoch(), v.GetLsn())
	}
	verify()
	puts := 0
	put := func(name string) {
		t.Helper()
		puts++
		b.put(b.source(name), []byte(strings.Repeat(fmt.Sprintf("put %04d", puts), 512)), uint64(puts)<<16)
	}
	put("c")
	joined := b.shoot(src)
	put("b")
	b.must(b.site.Call(b.ctx, src, nil, "verify", groupName, "--no-wait"))
	b.must(b.site.Call(b.ctx, src, nil, "disk", "remove", groupName, "b")) // in the middle of it
	verify()
	verify() // and of the disks that are left
	put("a")
	put("c")
	removed := b.shoot(src)
	b.disksAre(tgt, "a", "c")
	wasB := b.hashFile(old.Path)

	for _, s := range []shot{before, joined, removed} {
		r := &adminv1.RunCheckResponse{}
		b.must(b.site.Call(b.ctx, tgt, r, "check", "run", groupName, "--script", "names", "--at", s.at.String()))
		names, err := os.ReadFile(log)
		if want := slices.Sorted(maps.Keys(s.disks)); err != nil || !slices.Equal(strings.Fields(string(names)), want) || !r.GetCheck().GetPassed() || r.RootSha256 == "" {
			t.Errorf("check at %s of %s, want %v: %v, %v", s.at, names, want, r, err)
		}
		for _, name := range []string{"a", "b", "c"} {
			at := []string{"--at", s.at.String()}
			if want, ok := s.disks[name]; !ok {
				b.refusal(tgt, "does not have it", append([]string{"export", "--to", filepath.Join(b.dir, "no"), groupName + "/" + name}, at...)...)
			} else if got := b.exports(tgt, name, at...); got != want {
				t.Errorf("disk %s as a file of %s differs", name, s.at)
			}
		}
	}
	for _, p := range b.pointsOf(tgt).Points {
		var names []string
		for _, d := range p.Disks {
			names = append(names, d.Name)
		}
		var want []string
		switch l := p.Position.Lsn; {
		case l <= uint64(before.at.LSN):
			want = []string{"a", "b"}
		case l == uint64(joined.at.LSN):
			want = []string{"a", "b", "c"}
		case l < uint64(removed.at.LSN):
			continue
		}
		if !slices.Equal(names, want) {
			t.Errorf("point %v names %v, want %v", p.Position, names, want)
		}
	}

	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "unplanned", groupName, "--at", before.at.String()))
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "commit", groupName))
	b.inStateAt(src, "Fenced")
	for _, n := range []*site.Node{src, tgt} {
		r := &adminv1.GetLossReceiptResponse{}
		b.wait(n, "the receipt", func(*adminv1.GetStatusResponse, *adminv1.Group) error {
			r.Reset()
			err := b.site.Call(b.ctx, n, r, "failover", "receipt", groupName)
			if err == nil && !r.Receipt.GetComplete() {
				err = fmt.Errorf("it is a bound")
			}
			return err
		})
		got := map[string]uint64{}
		for _, d := range r.Receipt.Disks {
			got[d.Name] = d.Bytes
		}
		if r.Receipt.Records != 4 || r.Receipt.Bytes != 4*4096 || len(r.Receipt.Writes) != 4 || got["a"] != 4096 || got["b"] != 4096 || got["c"] != 2*4096 || len(got) != 3 {
			t.Errorf("receipt at %s: %v", n.Name, r.Receipt)
		}
	}

	// The way back wants b, and keeps what was only here.
	b.refusal(tgt, "name disk b in the configuration", "reverse", groupName, "--wait")
	b.again(a, old, c)
	b.must(b.site.Call(b.ctx, tgt, nil, "reverse", groupName, "--wait"))
	l := &adminv1.ListBranchesResponse{}
	b.must(b.site.Call(b.ctx, tgt, l, "branch", "list", groupName))
	i := slices.IndexFunc(l.Branches, func(x *adminv1.Branch) bool { return x.KeptBy != "history" })
	if i < 0 {
		t.Fatalf("branches %v", l.Branches)
	}
	kept := map[uint32]uint64{}
	for _, d := range l.Branches[i].Disks {
		kept[d.Disk] = d.Bytes
	}
	if len(kept) != 3 || kept[1] == 0 || kept[2] == 0 || kept[3] == 0 {
		t.Errorf("the branch has %v", l.Branches[i])
	}
	id := l.Branches[i].Id
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, tgt, r, "failover", "test", groupName, "--branch", id))
	branch := shot{before.at, map[string]string{"a": removed.disks["a"], "b": wasB}}
	b.matches(r.Export.Disks, branch)
	b.must(b.site.Call(b.ctx, tgt, nil, "failover", "cleanup", groupName, r.Export.Id))
	for name, want := range branch.disks {
		if got := b.exports(tgt, name, "--branch", id); got != want {
			t.Errorf("disk %s as a file of the branch differs", name)
		}
	}
	b.refusal(tgt, "does not have it", "export", "--to", filepath.Join(b.dir, "no"), groupName+"/c", "--branch", id)
	if _, err := os.Stat(filepath.Join(b.dir, "no")); err == nil {
		t.Error("a file of a disk that is not there")
	}
	b.must(b.site.Call(b.ctx, tgt, nil, "failback", groupName))
	b.disksAre(tgt, "a", "b", "c")
	b.equalSites(tgt)
	verify()
	b.opens(tgt, joined, removed)
}

// The journal overflows while the secondary is away, with a disk that has left
// and one whose copy has begun, or that is said to have joined: the one is gone in
// the end and the other there, and points on both sides of a gap have what they had.
func TestOverflowBesideDisksThatComeAndGo(t *testing.T) {
	b := newOverflowBed(t)
	src, tgt := b.site.Source, b.site.Targets[0]
	a, old, c, d := b.site.Disks[0], b.site.Disks[1], b.image("c", 6<<20), b.image("d", 7<<20)
	b.change(30)
	shots := []shot{b.shoot(src)}
	// round has one disk join up to a point, one leave, and the journal overflow.
	round := func(point, leaves, joins string, disks ...site.Disk) {
		t.Helper()
		src.Env = []string{crashpoint.Env + "=" + point}
		b.again(disks...)
		b.killed(src)
		for _, n := range b.site.Targets {
			n.Kill()
		}
		src.Env = nil
		b.must(src.Start())
		b.serving()
		b.must(b.site.Call(b.ctx, src, nil, "disk", "remove", groupName, leaves))
		p := make([]byte, 256<<10)
		for i := 0; b.sourceGroup().GetOverflow() == nil; i++ {
			for k := range p {
				p[k] = byte(b.rng.Uint32())
			}
			for _, name := range []string{"a", joins} {
				b.put(b.source(name), p, uint64(i%20*len(p)))
			}
		}
		b.refusal(src, "being copied", "disk", "remove", groupName, "a")
		for _, n := range b.site.Targets {
			b.must(n.Start())
		}
		stop := b.scribble() // beside the catch-up
		b.disksAre(tgt, "a", joins)
		b.must(stop())
		b.wait(tgt, "the end of the gap", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
			if g.GetGap() != nil || g.GetState() != "Protected" {
				return fmt.Errorf("state %s, gap %v", g.GetState(), g.GetGap())
			}
			return nil
		})
		s := b.shoot(src)
		gaps := b.pointsOf(tgt).Gaps // newest first
		if before := shots[len(shots)-1].at; len(gaps) < len(shots) || gaps[0].AfterLsn < uint64(before.LSN) || gaps[0].WholeLsn == 0 {
			t.Fatalf("gaps %v, the newest should be after %s", gaps, before)
		}
		shots = append(shots, s)
		b.equalSites(tgt)
	}
	round("source.join.begun", "b", "c", a, old, c)
	round("source.join.told", "c", "d", a, c, d)
	for i, want := range []string{"a b", "a c", "a d"} {
		if got := strings.Join(slices.Sorted(maps.Keys(shots[i].disks)), " "); got != want {
			t.Errorf("shot %d has %s, want %s", i, got, want)
		}
	}
	b.opens(tgt, shots...)
}
