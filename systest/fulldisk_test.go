package systest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// The disk under the journal fills up while the secondary is away. With block,
// writes fail with a clear error; with track, the journal gives up what was not
// shipped, as if it had reached its bound, and they go on. The daemon lives on, and
// nothing that was acknowledged is lost.
func TestFullDiskUnderTheJournal(t *testing.T) {
	for _, onFull := range []string{"block", "track"} {
		t.Run(onFull, func(t *testing.T) { fullDisk(t, onFull) })
	}
}

func fullDisk(t *testing.T, onFull string) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to mount a small file system")
	}
	b := &bed{T: t, ctx: t.Context(), seed: 7}
	var err error
	b.dir, err = os.MkdirTemp("", "st")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	small := filepath.Join(b.dir, "small")
	b.must(os.Mkdir(small, 0o700))
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("no small file system: %s", out)
	}
	t.Cleanup(func() { syscall.Unmount(small, syscall.MNT_DETACH) })

	d := redoubt.Disk{ID: 1, Name: "a", Size: 24 << 20}
	img, base := filepath.Join(b.dir, "a"), filepath.Join(b.dir, "a.base")
	b.must(errors.Join(site.MakeRaw(img, int64(d.Size), 7), site.CopyFile(b.ctx, img, base)))
	b.disks = []redoubt.Disk{d}
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "2GiB", Segment: "4MiB",
		FullWait: "2s", OnFull: onFull, JournalDir: filepath.Join(small, "j"), Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	b.must(b.site.Source.Start()) // no target: nothing is trimmed
	x := b.serving()
	b.model, err = oracle.New(filepath.Join(b.dir, "model"), []oracle.Disk{{Disk: d, Base: base}})
	b.must(err)
	b.state, err = b.model.State()
	b.must(err)
	_, err = b.model.Anchor(1, 0) // positions do not matter here, the end state does
	b.must(err)
	b.relay, err = oracle.NewRelay(b.model, 1, filepath.Join(b.dir, "r"), []oracle.Upstream{{Disk: d, Socket: x.Socket, Export: x.Export}})
	b.must(err)
	t.Cleanup(func() { b.relay.Close(); b.model.Close() })

	c := b.clients()[1]
	page := make([]byte, 128<<10)
	var full error
	var at uint64
	writes := map[string]int{"block": 2000, "track": 800}[onFull] // 100 MiB into a journal that has 48
	for i := 0; full == nil && i < writes; i++ {
		page[0], page[1] = byte(i), byte(i>>8)
		at = uint64(i%190) * uint64(len(page))
		full = c.Write(page, at, false)
	}
	var remote *oracle.ErrRemote
	switch {
	case onFull == "track" && full != nil:
		t.Fatalf("write at %d: %v", at, full)
	case onFull == "block" && !errors.As(full, &remote):
		t.Fatalf("a full disk under the journal gives %v, want an error of the server; it must live on: %v", full, b.site.Source.Check())
	}
	t.Logf("the full disk was answered with: %v", full)
	b.must(b.site.Source.Check())
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	t.Logf("status says: %q, hint %q", g.Error, g.Hint)

	// Room is made, as an operator would, and the daemon is started again.
	b.site.Source.Kill()
	if out, err := exec.Command("mount", "-o", "remount,size=512m", small).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.must(b.site.Source.Start())
	x = b.serving()
	b.must(b.clients()[1].Write(page, at, true)) // again: so it does not matter what became of the failed one
	b.judge([]*adminv1.Disk{x}, b.head())
}

// serving waits until the source serves disk a.
func (b *bed) serving() *adminv1.Disk {
	b.Helper()
	g := b.wait(b.site.Source, "the source's disk", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if len(g.GetDisks()) == 0 || g.Disks[0].Socket == "" {
			return errors.New("not served")
		}
		return nil
	})
	return g.Disks[0]
}
