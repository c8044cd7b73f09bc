package systest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/systest/guest"
)

// vmInit mounts the machine's disk, reads and writes it, and says so on the console.
const vmInit = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/$module" || echo "cannot load $module"; done </modules
for n in 1 2 3 4 5 6 7 8 9 10; do [ -b /dev/vda ] && break; sleep 1; done
mount -t ext4 /dev/vda /mnt && echo "the machine reads: $(cat /mnt/message)" && echo written >/mnt/answer && sync && echo "the machine wrote"
while :; do sleep 1000; done
`

// The example: a virtual machine boots from the exported disks of a test run, by
// the scripts that are shipped, and is gone after cleanup.
func TestPlanStartsMachine(t *testing.T) {
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		t.Skipf("no virtual machine: %v (qemu-system-x86)", err)
	}
	scripts := map[string]string{}
	for _, name := range []string{"vm-start", "vm-stop"} {
		text, err := os.ReadFile("../packaging/plans/scripts/" + name)
		if err != nil {
			t.Fatal(err)
		}
		scripts[name] = string(text)
	}
	b := preparePlanBed(t, scripts)
	ctx, cancel := guest.WithPatience(b.ctx)
	defer cancel()
	kernel, err := guest.Image(ctx, filepath.Join(b.dir, "initrd"), []byte(vmInit), "virtio_pci", "virtio_blk", "ext4")
	if errors.Is(err, guest.ErrNoPackages) {
		t.Skipf("no virtual machine: %v", err)
	}
	b.must(err)
	b.vmDisk()
	conf := "VM_MEMORY=256 VM_STATE=" + b.dir + " VM_KERNEL=" + kernel + " VM_INITRD=" + b.dir + "/initrd VM_APPEND='console=ttyS0 panic=-1 quiet'\n" +
		"VM_TEST_OPTIONS='-nic none -cpu max' VM_ACCEL='-accel tcg'\n"
	b.must(errors.Join(os.Mkdir(filepath.Join(b.dir, "vm"), 0o755), os.WriteFile(filepath.Join(b.dir, "vm", "g.conf"), []byte(conf), 0o644)))
	b.start()
	b.heard(b.site.Targets[0])
	b.put(`version: 1
name: vm
node: t2
stages:
  - name: web
    groups: [{name: g}, {name: h}]
    post: [{name: boot, script: vm-start, args: [g], leave: true}]
    cleanup: [{name: power-off, script: vm-stop, args: [g]}]
`)
	r := &adminv1.PlanRun{}
	b.must(b.site.Call(b.ctx, b.site.Targets[0], r, "plan", "test", "vm"))
	b.Cleanup(func() { // of a test that failed
		if pid, err := os.ReadFile(filepath.Join(b.dir, "vm-vm-1-g.pid")); err == nil {
			n, _ := strconv.Atoi(strings.TrimSpace(string(pid)))
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	})
	t.Logf("%s", b.step(r, "web/post/boot").Output)
	console := filepath.Join(b.dir, "vm-vm-1-g.console")
	said := func(what string) bool {
		text, _ := os.ReadFile(console)
		return strings.Contains(string(text), what)
	}
	for !said("the machine wrote") {
		if ctx.Err() != nil {
			text, _ := os.ReadFile(console)
			t.Fatalf("the machine does not come up:\n%s", text)
		}
		time.Sleep(50 * time.Millisecond)
	}
	if !said("the machine reads: from the primary") {
		t.Error("it read something else")
	}
	pid, err := os.ReadFile(filepath.Join(b.dir, "vm-vm-1-g.pid"))
	b.must(err)
	b.must(b.site.Call(b.ctx, b.site.Targets[2], r, "plan", "cleanup", r.Id))
	n, err := strconv.Atoi(strings.TrimSpace(string(pid)))
	b.must(err)
	if err := syscall.Kill(n, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the machine runs after cleanup: %v", err)
	}
	if s := b.step(r, "web/cleanup/power-off"); s.State != "done" || r.State != "undone" || len(b.exportsOf(b.site.Targets[1], "test")) != 0 {
		t.Errorf("%v, run %s", s, r.State)
	}
}

// vmDisk makes the disk of group g a file system with a message.
func (b *planBed) vmDisk() {
	b.Helper()
	dir := filepath.Join(b.dir, "files")
	b.must(errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "message"), []byte("from the primary\n"), 0o644)))
	tool(b.bed, "mke2fs", "-q", "-t", "ext4", "-d", dir, filepath.Join(b.dir, "a"))
}
