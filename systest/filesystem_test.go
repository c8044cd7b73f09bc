package systest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/systest/fsload"
)

// fsRounds is the number of kills, over all file systems; make fsstress sets it.
const fsRounds = "REDOUBT_FS_ROUNDS"

// fileSystem is how one kind is made, mounted and checked.
type fileSystem struct {
	kind, options string
	make, check   []string // the device's path is added
	ghosts        bool     // see fsload.Load
}

var fileSystems = []fileSystem{
	{"ext4", "errors=remount-ro,discard", []string{"mkfs.ext4", "-q", "-F"}, []string{"e2fsck", "-f", "-n"}, false},
	{"xfs", "discard", []string{"mkfs.xfs", "-q", "-f"}, []string{"xfs_repair", "-n"}, false},
	{"btrfs", "discard=sync", []string{"mkfs.btrfs", "-q", "-f"}, []string{"btrfs", "check", "--readonly", "--check-data-csum"}, true},
}

// S1 as a file system's user sees it: redoubtd is killed at random moments under
// a mounted file system. Attached anew, it replays its journal, its checker finds
// nothing, and whatever was fsynced is there.
func TestFileSystemsSurviveKills(t *testing.T) {
	if err := site.CanMount(); err != nil {
		t.Skipf("no file system on an NBD export here: %v (it needs root, /dev/fuse, loop devices, and the packages of scripts/deps.sh)", err)
	}
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("REDOUBT_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	rounds := len(fileSystems)
	if s := os.Getenv(fsRounds); s != "" {
		var err error
		if rounds, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d (REDOUBT_SEED), %d rounds (%s)", seed, rounds, fsRounds)
	for i, k := range fileSystems {
		n := rounds / len(fileSystems)
		if i < rounds%len(fileSystems) {
			n++
		}
		if n > 0 {
			t.Run(k.kind, func(t *testing.T) { newFSBed(t, k, seed).rounds(n) })
		}
	}
}

// fsBed is a source and two targets, with a file system on its only disk.
type fsBed struct {
	*bed
	fs    fileSystem
	lives int
	dev   *site.Device // nil while detached
	mount string       // the mount point; empty while not mounted
	load  *fsload.Load
}

func newFSBed(t *testing.T, k fileSystem, seed uint64) *fsBed {
	b := &fsBed{bed: &bed{T: t, ctx: t.Context(), seed: seed, rng: rand.New(rand.NewPCG(seed, 1))}, fs: k}
	tool(b.bed, k.make[0], "-V")
	var err error
	b.dir, err = os.MkdirTemp("", "st")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	img := filepath.Join(b.dir, "a")
	b.must(os.WriteFile(img, nil, 0o600))
	b.must(os.Truncate(img, 384<<20)) // mkfs.xfs wants 300 MB
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "256MiB", Segment: "4MiB",
		Targets: 2, Data: 1, Parity: 1, Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	t.Cleanup(b.detach)
	for _, n := range b.site.Nodes() {
		b.must(n.Start())
	}
	b.attach()
	tool(b.bed, append(k.make, b.dev.Path)...)
	b.load = fsload.New(filepath.Join(b.dir, "fs"), seed)
	b.load.Ghosts = k.ghosts
	return b
}

func (b *fsBed) rounds(n int) {
	b.mountIt()
	for i := range n {
		b.liveAndDie()
		b.recover()
		b.attach()
		b.mountIt() // replays the file system's journal
		b.unmount()
		tool(b.bed, append(b.fs.check, b.dev.Path)...)
		b.mountIt()
		files, bytes, err := b.load.Judge()
		if err != nil {
			b.Fatalf("round %d: %v", i+1, err)
		}
		if files == 0 || bytes == 0 {
			b.Fatalf("round %d: the judge had nothing to judge", i+1)
		}
		b.Logf("round %d: killed after %d syncs; %d files of %d bytes are as they must be, and %s finds nothing", i+1, b.load.Acknowledged(), files, bytes, b.fs.check[0])
	}
	if b.load.Seen > 0 {
		b.Logf("%s brought back %d names that were gone", b.fs.kind, b.load.Seen)
	}
	b.unmount()
	tool(b.bed, append(b.fs.check, b.dev.Path)...)
	b.detach()
	b.must(b.site.Source.Stop(patience))
}

// liveAndDie kills redoubtd under load and gives up what hung on it.
func (b *fsBed) liveAndDie() {
	after := b.load.Acknowledged() + 20 + b.rng.Int64N(300)
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- b.load.Run(ctx) }()
	for deadline := time.Now().Add(patience); b.load.Acknowledged() < after && len(done) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("the load does not get on")
		}
	}
	time.Sleep(time.Duration(b.rng.IntN(int(20 * time.Millisecond)))) // not always just after a sync
	if len(done) > 0 {
		b.Fatalf("before the kill: %v", <-done)
	}
	b.load.Doom()
	b.site.Source.Kill()
	if b.rng.IntN(2) == 0 {
		b.dev.Cut()
	}
	select {
	case err := <-done:
		if err == nil {
			b.Fatal("the load did not notice the kill")
		}
	case <-time.After(patience): // a file system may retry for ever
		cancel()
		b.dev.Cut()
		if err := <-done; err == nil {
			b.Log("the load ended without an error")
		}
	}
	b.detach()
}

// recover starts redoubtd, which now and then is killed once more on its way.
func (b *fsBed) recover() {
	for b.rng.IntN(3) == 0 {
		b.must(b.site.Source.Start())
		time.Sleep(time.Duration(b.rng.IntN(int(300 * time.Millisecond))))
		b.site.Source.Kill()
	}
	b.must(b.site.Source.Start())
}

func (b *fsBed) attach() {
	b.Helper()
	x := b.serving()
	b.lives++
	var err error
	b.dev, err = site.AttachNBD(b.ctx, filepath.Join(b.dir, fmt.Sprint("nbd", b.lives)), x.Socket, x.Export)
	b.must(err)
}

func (b *fsBed) mountIt() {
	b.Helper()
	path := filepath.Join(b.dir, "fs")
	b.must(os.MkdirAll(path, 0o700))
	tool(b.bed, "mount", "-t", b.fs.kind, "-o", b.fs.options, b.dev.Path, path)
	b.mount = path
}

func (b *fsBed) unmount() {
	b.Helper()
	tool(b.bed, "umount", b.mount)
	b.mount = ""
}

// detach unmounts and gives the block device back, whether or not the export
// still answers. What the kernel could not write is dropped with it.
func (b *fsBed) detach() {
	if b.mount != "" {
		if exec.Command("umount", b.mount).Run() != nil {
			exec.Command("umount", "-l", b.mount).Run()
		}
		b.mount = ""
	}
	if b.dev == nil {
		return
	}
	err := b.dev.Close()
	b.dev = nil
	if errors.Is(err, site.ErrBusy) {
		b.Fatal(err)
	}
}
