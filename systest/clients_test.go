package systest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// The programs that people use against NBD servers, on a running source.
func TestStandardClients(t *testing.T) {
	b := newBed(t)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	a := disk(t, g.Disks, "a")
	uri := "nbd+unix:///" + a.Export + "?socket=" + a.Socket
	qemu := "nbd:unix:" + a.Socket + ":exportname=" + a.Export
	in, out := filepath.Join(b.dir, "in"), filepath.Join(b.dir, "out")
	b.must(os.WriteFile(in, noise(b, int(a.Size)), 0o600))

	info := tool(b, "nbdinfo", uri)
	for _, want := range []string{"can_flush: true", "can_fua: true", "can_trim: true", "can_zero: true", "is_read_only: false"} {
		if !strings.Contains(info, want) {
			t.Errorf("nbdinfo lacks %q:\n%s", want, info)
		}
	}
	if list := tool(b, "nbdinfo", "--list", "nbd+unix://?socket="+a.Socket); !strings.Contains(list, `export="a"`) || !strings.Contains(list, `export="b"`) {
		t.Errorf("nbdinfo --list:\n%s", list)
	}
	tool(b, "nbdcopy", "--flush", in, uri)
	tool(b, "nbdcopy", uri, out)
	tool(b, "cmp", in, out)
	tool(b, "qemu-img", "compare", "-f", "raw", "-F", "raw", qemu, in)

	// The judge judges: one flipped byte is seen.
	flipped, err := os.ReadFile(in)
	b.must(err)
	flipped[b.rng.IntN(len(flipped))] ^= 1
	b.must(os.WriteFile(in, flipped, 0o600))
	if err := exec.Command("qemu-img", "compare", "-f", "raw", "-F", "raw", qemu, in).Run(); err == nil {
		t.Error("a flipped byte was not seen")
	}
}

// A whole verify pass after random writes, by two clients at once.
func TestFioVerifies(t *testing.T) {
	b := newBed(t)
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	job := "[global]\nioengine=nbd\nrw=randwrite\nbsrange=4k-64k\niodepth=8\nverify=crc32c\ndo_verify=1\nverify_fatal=1\nrandrepeat=0\nthread=1\n"
	for _, d := range g.Disks {
		job += fmt.Sprintf("[%s]\nuri=nbd+unix:///%s?socket=%s\nsize=%d\n", d.Name, d.Export, d.Socket, d.Size&^4095)
	}
	path := filepath.Join(b.dir, "verify.fio")
	b.must(os.WriteFile(path, []byte(job), 0o600))
	out := tool(b, "fio", path)
	if !strings.Contains(out, "READ:") {
		t.Errorf("fio did not verify:\n%s", out)
	}
	// What fio wrote past the relay is also what the secondary opens.
	g = b.wait(b.site.Source, "everything at the secondary", func(_ *adminv1.GetStatusResponse, g *adminv1.Group) error {
		if g.GetCommitted().GetLsn() != g.GetHead().GetLsn() {
			return fmt.Errorf("committed %v, head %v", g.Committed, g.Head)
		}
		return nil
	})
	r := &adminv1.TestFailoverResponse{}
	b.must(b.site.Call(b.ctx, b.site.Targets[1], r, "failover", "test", groupName, "--at", "latest"))
	for _, d := range g.Disks {
		x := disk(t, r.Export.Disks, d.Name)
		tool(b, "qemu-img", "compare", "-f", "raw", "-F", "raw",
			"nbd:unix:"+d.Socket+":exportname="+d.Export, "nbd:unix:"+x.Socket+":exportname="+x.Export)
	}
}

func noise(b *bed, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(b.rng.Uint32())
	}
	return p
}

// tool runs a program that must succeed; a missing one skips the test.
func tool(b *bed, argv ...string) string {
	b.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		b.Skipf("%s is not installed: run scripts/deps.sh", argv[0])
	}
	cmd := exec.CommandContext(b.ctx, argv[0], argv[1:]...)
	cmd.Dir = b.dir // fio leaves its state where it runs
	out, err := cmd.CombinedOutput()
	if err != nil {
		b.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}
