package demo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// The demo's judge, judged: users with a kernel file system and raw blocks
// work on images of someone else's NBD server, which is killed under them. The
// model must be exactly what the images hold, and the file system must check.
func TestModelFollowsAKernelFileSystem(t *testing.T) {
	if why := site.CanMount(); why != nil {
		t.Skipf("no kernel file system on NBD here: %v", why)
	}
	if _, err := exec.LookPath("nbdkit"); err != nil {
		t.Skip("nbdkit is not installed: run scripts/deps.sh")
	}
	ctx := t.Context()
	dir, err := os.MkdirTemp("", "dl")
	check(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	at := func(name string) string { return filepath.Join(dir, name) }
	disks := []redoubt.Disk{{ID: 1, Name: "files", Size: 64 << 20}, {ID: 2, Name: "raw", Size: 8 << 20}}
	check(t, os.MkdirAll(at("tree/sub"), 0o755))
	check(t, os.WriteFile(at("tree/sub/file"), []byte("was there before"), 0o644))
	check(t, site.MakeExt4(ctx, at("files"), at("tree"), int64(disks[0].Size)))
	check(t, site.MakeRaw(at("raw"), int64(disks[1].Size), 1))
	var md []oracle.Disk
	var ups []oracle.Upstream
	var servers []*exec.Cmd
	for _, d := range disks {
		check(t, site.CopyFile(ctx, at(d.Name), at(d.Name+".base")))
		md = append(md, oracle.Disk{Disk: d, Base: at(d.Name + ".base")})
		cmd := exec.Command("nbdkit", "-f", "-U", at(d.Name+".up"), "file", at(d.Name))
		check(t, cmd.Start())
		t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
		servers = append(servers, cmd)
		ups = append(ups, oracle.Upstream{Disk: d, Socket: at(d.Name + ".up")})
		waitFor(t, ctx, at(d.Name+".up"))
	}
	model, err := oracle.New(at("model"), md)
	check(t, err)
	t.Cleanup(func() { model.Close() })
	_, err = model.Anchor(1, 0)
	check(t, err)
	relay, err := oracle.NewRelay(model, 1, at("r"), ups)
	check(t, err)
	t.Cleanup(func() { relay.Close() })
	mount, err := site.MountNBD(ctx, at("m"), relay.Socket("files"), "files")
	check(t, err)
	l, err := startLoad(mount.Path, relay, disks[1:], 5)
	check(t, err)
	for deadline := time.Now().Add(30 * time.Second); model.Head(1) < 600; time.Sleep(10 * time.Millisecond) {
		if err := l.failed(); err != nil || time.Now().After(deadline) {
			l.end()
			mount.Close()
			t.Fatalf("the load does not get on (%d changes): %v", model.Head(1), err)
		}
	}
	for _, s := range servers {
		s.Process.Kill()
	}
	check(t, l.endBroken(10*time.Second))
	mount.Close() // gives errors: the disk is gone
	if c := l.count(); c.created == 0 {
		t.Errorf("no file was created: %s", c)
	}
	st, err := model.State()
	check(t, err)
	check(t, st.Seek(redoubt.Position{Epoch: 1, LSN: model.Head(1)}))
	for _, d := range disks {
		if err := st.Judge(d.ID, at(d.Name)); err != nil {
			// The change that was on its way may be there or not: the one before it decides.
			check(t, st.Seek(redoubt.Position{Epoch: 1, LSN: model.Head(1) - 1}))
			check(t, st.Judge(d.ID, at(d.Name)))
		}
	}
	check(t, site.CheckExt4(ctx, at("files")))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func waitFor(t *testing.T, ctx context.Context, socket string) {
	t.Helper()
	var last error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c, err := oracle.Dial(ctx, socket, "")
		if err == nil {
			c.Close()
			return
		}
		last = err
	}
	t.Fatal(errors.Join(errors.New("nbdkit does not come up"), last))
}
