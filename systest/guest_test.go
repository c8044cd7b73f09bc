package systest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/systest/guest"
)

// A Linux host whose kernel has an NBD client: it is attached with nbd-client
// and with redoubt disk attach, its kernel flushes and discards, it loses its
// power, and what it had synced is on the disks.
func TestKernelClientInGuest(t *testing.T) {
	b := newGuestBed(t)
	attach := map[string]string{
		"a": fmt.Sprintf("nbd-client %s %s /dev/nbd0 -N a -b 4096", guest.Host, b.port),
		"b": fmt.Sprintf("redoubt disk attach nbd://%s:%s/b --device /dev/nbd1", guest.Host, b.port),
	}
	device := map[string]string{"a": "nbd0", "b": "nbd1"}
	for _, d := range []string{"a", "b"} {
		b.Logf("%s: %s", attach[d], strings.TrimSpace(b.guest(attach[d])))
		b.queue(device[d], "write_cache", func(v string) bool { return v == "write back" })
		b.queue(device[d], "fua", func(v string) bool { return v == "1" })
		b.queue(device[d], "discard_max_bytes", positive)
		b.guest("/sbin/mke2fs -q -t ext4 /dev/" + device[d]) // busybox has a lesser one
		b.mount(d, device[d])
		b.guest(b.numbers(d, "early"))
		b.guest(fmt.Sprintf("fstrim -v /mnt/%s", d))
	}

	// Given back, the device is free, and can be had again.
	b.guest("umount /mnt/b && redoubt disk detach /dev/nbd1")
	if size := strings.TrimSpace(b.guest("cat /sys/block/nbd1/size")); size != "0" {
		b.Errorf("a detached device has %s sectors", size)
	}
	dev := strings.TrimSpace(b.guest(fmt.Sprintf("redoubt disk attach nbd://%s:%s/b", guest.Host, b.port)))
	b.mount("b", strings.TrimPrefix(dev, "/dev/"))
	if out, err := b.vm.Run(b.patient(), fmt.Sprintf("redoubt disk attach nbd://%s:%s/nosuch", guest.Host, b.port)); err == nil || !strings.Contains(out, "not found") {
		b.Errorf("an export that does not exist: %v %s", err, out)
	}
	if out, err := b.vm.Run(b.patient(), "redoubt disk attach nbds://"+guest.Host+"/b"); err == nil || !strings.Contains(out, "TLS") {
		b.Errorf("TLS is not refused: %v %s", err, out)
	}

	for _, d := range []string{"a", "b"} {
		b.guest(b.numbers(d, "late"))
	}
	b.guest("seq 1 100000000 > /mnt/a/torn & seq 1 100000000 > /mnt/b/torn & sleep 1") // cut off while it writes
	b.powerCut()
	for _, d := range []string{"a", "b"} {
		b.judgeDisk(d)
	}
}

func positive(v string) bool { n, err := strconv.ParseUint(v, 10, 64); return err == nil && n > 0 }

// guestBed is a source with two disks that are served on loopback, and a guest.
type guestBed struct {
	*bed
	port string
	vm   *guest.Machine
}

func newGuestBed(t *testing.T) *guestBed {
	b := &guestBed{bed: &bed{T: t, ctx: t.Context()}}
	var err error
	b.dir, err = os.MkdirTemp("", "st")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	static := filepath.Join(b.dir, "redoubt") // the guest has no libc for it
	build := exec.CommandContext(b.ctx, "go", "build", "-o", static, "../cmd/redoubt")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b.vm, err = guest.Boot(b.patient(), b.dir, static)
	if errors.Is(err, guest.ErrNoPackages) {
		t.Skipf("no guest: %v (it needs qemu-system-x86, and apt-get to download a Debian kernel, busybox, e2fsprogs and nbd-client)", err)
	}
	b.must(err)
	t.Cleanup(b.vm.Kill)
	b.Logf("the guest runs %s", strings.TrimSpace(b.guest("uname -sr")))

	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	_, b.port, err = net.SplitHostPort(l.Addr().String())
	b.must(errors.Join(err, l.Close()))
	var disks []site.Disk
	for _, name := range []string{"a", "b"} {
		img := filepath.Join(b.dir, name+".img")
		b.must(errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, 64<<20)))
		disks = append(disks, site.Disk{Name: name, Path: img})
	}
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "2GiB", Disks: disks, Listen: "127.0.0.1:" + b.port})
	b.must(err)
	t.Cleanup(b.end)
	b.must(b.site.Source.Start())
	b.serving()
	return b
}

// patient bounds one command; emulation is slow.
func (b *guestBed) patient() context.Context {
	ctx, cancel := guest.WithPatience(b.ctx)
	b.Cleanup(cancel)
	return ctx
}

// guest runs a line in the guest, which must succeed.
func (b *guestBed) guest(line string) string {
	b.Helper()
	out, err := b.vm.Run(b.patient(), line)
	if err != nil {
		b.Fatalf("%v\nthe guest's console:\n%s", err, b.vm.Console())
	}
	return out
}

// powerCut ends the guest, whose kernel must have seen no I/O error.
func (b *guestBed) powerCut() {
	b.Helper()
	b.vm.Kill()
	if log := b.vm.Console(); strings.Contains(log, "I/O error") {
		b.Errorf("the guest's kernel saw an I/O error:\n%s", log)
	}
}

func (b *guestBed) queue(device, name string, ok func(string) bool) {
	b.Helper()
	if v := strings.TrimSpace(b.guest("cat /sys/block/" + device + "/queue/" + name)); !ok(v) {
		b.Errorf("%s: the kernel has %s = %q", device, name, v)
	}
}

func (b *guestBed) mount(disk, device string) {
	b.Helper()
	b.guest(fmt.Sprintf("mkdir -p /mnt/%s && mount -t ext4 -o discard /dev/%s /mnt/%s", disk, device, disk))
}

// The files hold numbers, so that both sides can make their content.
var guestFiles = map[string][2]int{"early": {1000000, 1200000}, "late": {3000000, 3300000}}

// numbers is the command that writes a file and syncs it.
func (b *guestBed) numbers(disk, file string) string {
	n := guestFiles[file]
	return fmt.Sprintf("seq %d %d | dd bs=64k conv=fsync of=/mnt/%s/%s 2>/dev/null", n[0], n[1], disk, file)
}

// judgeDisk reads an export as any NBD client does, has the file system's journal
// replayed and checked, and compares the files.
func (b *guestBed) judgeDisk(name string) {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	x := disk(b.T, g.Disks, name)
	image := filepath.Join(b.dir, name+".copy")
	tool(b.bed, "nbdcopy", "nbd+unix:///"+x.Export+"?socket="+x.Socket, image)
	b.must(site.CheckExt4(b.ctx, image))
	for file, n := range guestFiles {
		var want bytes.Buffer
		for i := n[0]; i <= n[1]; i++ {
			fmt.Fprintln(&want, i)
		}
		got := filepath.Join(b.dir, name+"."+file)
		tool(b.bed, "debugfs", "-R", "dump /"+file+" "+got, image)
		content, err := os.ReadFile(got)
		b.must(err)
		if !bytes.Equal(content, want.Bytes()) {
			b.Errorf("disk %s: %s has %d bytes, %d of them right from the start; must have %d", name, file, len(content), same(content, want.Bytes()), want.Len())
		}
	}
}

// same returns the length of the common beginning.
func same(a, b []byte) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
