package systest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// Under load both sites are found equal, asked of either; the root of a point
// is found again; and one byte that was changed behind Redoubt's back is found.
func TestVerify(t *testing.T) {
	b := newBed(t)
	b.change(sized(1000, 300))
	stop := b.background()
	for _, n := range []*site.Node{b.site.Source, b.site.Targets[b.rng.IntN(3)]} {
		r := &adminv1.VerifyStatus{}
		b.must(b.site.Call(b.ctx, n, r, "verify", groupName))
		v := r.GetLast()
		want := uint64(0)
		for _, d := range b.disks {
			want += (d.Size + 4095) / 4096
		}
		if v.GetDifferingBlocks() != 0 || v.GetBlocks() != want || !v.Compared {
			t.Fatalf("under load: %v", v)
		}
		t.Logf("under load: %d blocks, %d moved, %d unsettled, %d passes, %d bytes of hashes", v.Blocks, v.MovedBlocks, v.UnsettledBlocks, v.Passes, v.HashBytes)
	}
	b.must(stop())
	b.safe()
	b.wait(b.site.Source, "everything in the images", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetAppliedLsn() < uint64(b.head().LSN) {
			return errors.New("not yet")
		}
		return nil
	})

	r := &adminv1.VerifyStatus{}
	b.must(b.site.Call(b.ctx, b.site.Source, r, "verify", groupName))
	root, target := r.GetLast().GetRoot(), b.site.Targets[b.rng.IntN(3)]
	r = &adminv1.VerifyStatus{}
	b.must(b.site.Call(b.ctx, target, r, "verify", groupName, "--at", b.head().String()))
	if r.EarlierRoot != root || r.GetLast().GetRoot() != root {
		t.Fatalf("root of %s: %q, remembered %q, the comparison found %q", b.head(), r.GetLast().GetRoot(), r.EarlierRoot, root)
	}

	off := b.spoil(b.disks[0].Name, int64(b.disks[0].Size))
	_, err := b.site.Run(b.ctx, "--socket", target.AdminSocket(), "verify", groupName)
	var ce *site.CommandError
	var exit *exec.ExitError
	if !errors.As(err, &ce) || !errors.As(err, &exit) || exit.ExitCode() != 7 || !strings.Contains(ce.Stderr, "differ") {
		t.Fatalf("a changed byte: %v", err)
	}
	_, g, err := b.site.Status(b.ctx, target)
	b.must(err)
	if v := g.GetVerify().GetLast(); v.GetDifferingBlocks() != 1 {
		t.Fatalf("the secondary remembers %v of a byte changed at %d", v, off)
	}
}

// A comparison that a restart has ended is said to have ended, until the next one.
func TestVerifyEndedByARestart(t *testing.T) {
	b := newBed(t)
	b.reconfigure("      disks:\n", "      verify: {rate: 1MiB}\n      disks:\n")
	b.must(b.site.Source.Stop(patience))
	b.must(b.site.Source.Start())
	b.resynced()
	for _, end := range []func(){
		func() { b.must(b.site.Source.Stop(patience)) },
		func() { b.site.Source.Kill() },
	} {
		b.must(b.site.Call(b.ctx, b.site.Source, nil, "verify", groupName, "--no-wait"))
		end()
		b.must(b.site.Source.Start())
		b.resynced()
		if v := b.sourceGroup().GetVerify(); v.GetRunning() || !strings.Contains(v.GetError(), "a restart of this host ended") || v.GetHint() == "" {
			t.Fatalf("after the restart: %v", v)
		}
	}
	b.reconfigure("1MiB", "64MiB")
	b.must(b.site.Source.Stop(patience))
	b.must(b.site.Source.Start())
	b.resynced()
	b.must(b.site.Call(b.ctx, b.site.Targets[0], nil, "verify", groupName))
	if v := b.sourceGroup().GetVerify(); v.GetError() != "" || v.GetLast() == nil {
		t.Fatalf("after another one: %v", v)
	}
}

// spoil changes one byte of a disk's image behind Redoubt's back.
func (b *bed) spoil(disk string, size int64) int64 {
	b.Helper()
	f, err := os.OpenFile(filepath.Join(b.dir, disk), os.O_RDWR, 0)
	b.must(err)
	off := b.rng.Int64N(size)
	p := make([]byte, 1)
	_, err = f.ReadAt(p, off)
	b.must(err)
	p[0] ^= 1
	_, err = f.WriteAt(p, off)
	b.must(errors.Join(err, f.Close()))
	return off
}
