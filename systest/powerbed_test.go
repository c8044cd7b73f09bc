package systest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// powerBed is a source whose journal, Badger folder, facts and images lie on an
// ext4 of a powerDisk, and a second source that opens what a cut leaves of it.
type powerBed struct {
	*bed
	disk  *powerDisk
	mount *site.Mount
	check *site.Site
	paths []string // the sockets on which the check serves the disks
	load  []*oracle.Client
	order *writeOrder
	tally struct{ cuts, damaged, flushed, kept, dropped int }
}

// newPowerBed begins a load site. With lax its file system is mounted so that a
// sync does not reach the disk.
func newPowerBed(t *testing.T, lax bool) *powerBed {
	t.Helper()
	if err := site.CanMount(); err != nil {
		t.Skip(err)
	}
	b := &powerBed{bed: &bed{T: t, ctx: t.Context(), seed: *powerSeed}}
	if b.seed == 0 {
		b.seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 0))
	b.disks = []redoubt.Disk{{ID: 1, Name: "a", Size: 8 << 20}, {ID: 2, Name: "b", Size: 3<<20 + 512}}
	mix := oracle.DefaultMix()
	mix.Flush, mix.MaxLen = 8, 64<<10
	b.work = oracle.NewWorkload(b.seed, b.disks, mix)
	var err error
	b.dir, err = os.MkdirTemp("", "pc")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	b.mkfs(lax)
	b.must(os.Mkdir(b.at("c"), 0o700))
	b.site = b.newSite("l", b.mount.Path, 2)
	t.Cleanup(b.end)
	b.check = b.newSite("k", b.at("c"), 1) // its target does not exist
	t.Cleanup(b.check.Close)
	b.makeImages()
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	g := b.wait(b.site.Source, "the initial copy", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if !g.GetCopy().GetComplete() || len(g.Disks) != len(b.disks) {
			return fmt.Errorf("state %s, copy %v", g.GetState(), g.GetCopy())
		}
		return nil
	})
	for _, d := range b.disks {
		x := disk(t, g.Disks, d.Name)
		c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
		b.must(err)
		t.Cleanup(func() { c.Close() })
		b.load = append(b.load, c)
		b.paths = append(b.paths, strings.Replace(x.Socket, b.at("l"), b.at("k"), 1))
	}
	return b
}

func (b *powerBed) at(name string) string { return filepath.Join(b.dir, name) }

// mkfs makes the disk with its file system and mounts it.
func (b *powerBed) mkfs(lax bool) {
	b.Helper()
	const size = 256 << 20
	img := b.at("fs.img")
	b.must(os.WriteFile(img, nil, 0o600))
	b.must(os.Truncate(img, size))
	tool(b.bed, "mke2fs", "-q", "-F", "-t", "ext4", "-E", "lazy_itable_init=0,lazy_journal_init=0", img)
	content, err := os.ReadFile(img)
	b.must(errors.Join(err, os.Remove(img)))
	b.disk, err = newPowerDisk(b.at("d.sock"), content)
	b.must(err)
	b.Cleanup(b.disk.close)
	b.mount, err = site.MountNBD(b.ctx, b.at("m"), b.at("d.sock"), "d")
	b.must(err)
	b.Cleanup(func() {
		if err := b.mount.Close(); err != nil {
			b.Errorf("unmount: %v", err)
		}
	})
	if lax {
		tool(b.bed, "mount", "-o", "remount,barrier=0", b.mount.Path)
	}
}

// newSite makes a site whose source keeps everything below state.
func (b *powerBed) newSite(name, state string, targets int) *site.Site {
	b.Helper()
	var ds []site.Disk
	for _, d := range b.disks {
		ds = append(ds, site.Disk{Name: d.Name, Path: filepath.Join(state, d.Name)})
	}
	s, err := site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.at(name), Group: groupName, Disks: ds, JournalMax: "16MiB", Segment: "1MiB",
		JournalDir: filepath.Join(state, "j"), Targets: targets, Data: 1, Parity: 1})
	b.must(err)
	config, err := os.ReadFile(s.Source.Config())
	b.must(err)
	own := "data_dir: " + s.Source.Dir + "/data"
	if !strings.Contains(string(config), own) {
		b.Fatalf("no %q in the configuration", own)
	}
	b.must(os.WriteFile(s.Source.Config(), []byte(strings.Replace(string(config), own, "data_dir: "+state+"/data", 1)), 0o600))
	return s
}

// makeImages makes the disks' images durable and notes what is in them.
func (b *powerBed) makeImages() {
	b.Helper()
	b.order = &writeOrder{}
	for _, d := range b.disks {
		path := filepath.Join(b.mount.Path, d.Name)
		b.must(site.MakeRaw(path, int64(d.Size), b.seed))
		content, err := os.ReadFile(path)
		b.must(err)
		b.order.disks = append(b.order.disks, content)
	}
	tool(b.bed, "sync", "-f", b.mount.Path)
}
