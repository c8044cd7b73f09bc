package systest

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// tlsBed is a source that serves its disks over TLS, and how its operator finds
// them.
type tlsBed struct {
	*bed
	uri        string // of disk a, from `redoubt disk list`
	host, port string
}

// Disks over NBD with TLS: certificates and addresses as an operator gets them,
// used by libnbd's and QEMU's programs.
func TestNBDOverTLS(t *testing.T) {
	b := &tlsBed{bed: newBedOf(t, site.Options{Clients: []string{"vm1"}})}
	b.find()
	vm1 := b.identity("client", "vm1")
	t.Run("clients", func(t *testing.T) { b.clients(t, vm1) })
	t.Run("refused", func(t *testing.T) { b.refused(t, vm1) })
	t.Run("renewed", func(t *testing.T) { b.renewed(t, vm1) })
}

// find takes the address from what the operator sees.
func (b *tlsBed) find() {
	b.Helper()
	r := &adminv1.ListExportsResponse{}
	b.must(b.site.Call(b.ctx, b.site.Source, r, "disk", "list"))
	for _, x := range r.Exports {
		b.uri = disk(b.T, x.Disks, "a").RemoteUri
	}
	u, err := url.Parse(b.uri)
	b.must(err)
	if u.Scheme != "nbds" || u.Path != "/a" {
		b.Fatalf("the address over TLS is %q", b.uri)
	}
	b.host, b.port, err = net.SplitHostPort(u.Host)
	b.must(err)
	list, err := b.site.Run(b.ctx, "--socket", b.site.Source.AdminSocket(), "disk", "list")
	b.must(err)
	if !strings.Contains(list, "REMOTE URI") || !strings.Contains(list, b.uri) {
		b.Errorf("redoubt disk list does not say %s:\n%s", b.uri, list)
	}
}

// identity is what `redoubt ca issue` makes.
func (b *tlsBed) identity(role, name string) string {
	b.Helper()
	dir := filepath.Join(b.dir, role+"-"+name)
	b.must(b.site.Issue(b.ctx, role, name, dir))
	return dir
}

func (b *tlsBed) with(certificates string) string { return b.uri + "?tls-certificates=" + certificates }

// qemu returns arguments for a QEMU program that opens the disk.
func (b *tlsBed) qemu(certificates, export string) (object []string, image string) {
	return []string{"--object", "tls-creds-x509,id=t,endpoint=client,dir=" + certificates},
		fmt.Sprintf("driver=nbd,host=%s,port=%s,export=%s,tls-creds=t", b.host, b.port, export)
}

func (b *tlsBed) clients(t *testing.T, vm1 string) {
	in, out := filepath.Join(b.dir, "in"), filepath.Join(b.dir, "out")
	b.must(os.WriteFile(in, noise(b.bed, int(b.disks[0].Size)), 0o600))
	if info := tool(b.bed, "nbdinfo", b.with(vm1)); !strings.Contains(info, "with TLS") || !strings.Contains(info, "can_multi_conn: true") {
		t.Errorf("nbdinfo:\n%s", info)
	}
	tool(b.bed, "nbdcopy", "--flush", in, b.with(vm1))
	tool(b.bed, "nbdcopy", b.with(vm1), out)
	tool(b.bed, "cmp", in, out)
	object, image := b.qemu(vm1, "a")
	compare := append(append([]string{"qemu-img", "compare"}, object...), "--image-opts", "driver=raw,file.filename="+in, image)
	tool(b.bed, compare...)
	// What comes over TLS is on the same disk as what the unix socket shows.
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	a := disk(t, g.Disks, "a")
	tool(b.bed, "qemu-img", "compare", "-f", "raw", "-F", "raw", "nbd:unix:"+a.Socket+":exportname=a", in)
	io := append(append([]string{"qemu-io"}, object...), "-c", "write -P 7 1M 64k", "-c", "read -P 7 1M 64k", "-c", "write -z 1M 4k", "-c", "read -P 0 1M 4k",
		"-c", "discard 2M 1M", "-c", "read -P 0 2M 1M", "-c", "write -f -P 9 4M 512", "-c", "flush", "-c", "read -P 9 4M 512", "--image-opts", image)
	if out := tool(b.bed, io...); strings.Contains(out, "failed") {
		t.Errorf("qemu-io:\n%s", out)
	}
	// The judge judges.
	if err := exec.CommandContext(b.ctx, compare[0], compare[1:]...).Run(); err == nil {
		t.Error("qemu-img did not see what qemu-io had written")
	}
}

func (b *tlsBed) refused(t *testing.T, vm1 string) {
	nameless := filepath.Join(b.dir, "nameless") // trusts the authority, has nothing to show
	b.must(os.Mkdir(nameless, 0o700))
	b.must(site.CopyFile(b.ctx, filepath.Join(vm1, "ca.crt"), filepath.Join(nameless, "ca-cert.pem")))
	vm2 := b.identity("client", "vm2")
	boss := b.identity("operator", "boss")
	b.must(os.Symlink("ca.crt", filepath.Join(boss, "ca-cert.pem")))
	b.must(os.Symlink("node.crt", filepath.Join(boss, "client-cert.pem")))
	b.must(os.Symlink("node.key", filepath.Join(boss, "client-key.pem")))
	object, image := b.qemu(vm2, "a")
	plain := "nbd://" + net.JoinHostPort(b.host, b.port) + "/a"
	for name, argv := range map[string][]string{
		"no certificate":         {"nbdinfo", "--size", b.with(nameless)},
		"client of other disks":  {"nbdinfo", "--size", b.with(vm2)},
		"operator":               {"nbdinfo", "--size", b.with(boss)},
		"unknown disk":           {"nbdinfo", "--size", strings.Replace(b.with(vm1), "/a?", "/z?", 1)},
		"plain":                  {"nbdinfo", "--size", plain},
		"plain qemu":             {"qemu-img", "info", plain},
		"client of others, qemu": append(append([]string{"qemu-img", "info"}, object...), "--image-opts", image),
	} {
		ctx, cancel := context.WithTimeout(b.ctx, patience)
		out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).CombinedOutput()
		if err == nil || ctx.Err() != nil {
			t.Errorf("%s: %v, %v\n%s", name, err, ctx.Err(), out)
		}
		t.Logf("%s: %s", name, strings.TrimSpace(string(out)))
		cancel()
	}
	if size := tool(b.bed, "nbdinfo", "--size", b.with(vm1)); strings.TrimSpace(size) != fmt.Sprint(b.disks[0].Size) {
		t.Errorf("the one who may: %s", size)
	}
	if list := tool(b.bed, "nbdinfo", "--list", strings.Replace(b.with(vm2), "/a?", "/?", 1)); strings.Contains(list, `export="a"`) {
		t.Errorf("a client of other disks is told their names:\n%s", list)
	}
}

// renewed replaces the host's certificate under the running daemon.
func (b *tlsBed) renewed(t *testing.T, vm1 string) {
	id := filepath.Join(b.site.Source.Dir, "id")
	b.must(os.WriteFile(filepath.Join(id, "node.crt"), []byte("half a certificate"), 0o600))
	b.said(t, "the old one stays in use")
	tool(b.bed, "nbdinfo", "--size", b.with(vm1))
	fresh := b.identity("source", "s1")
	for _, f := range []string{"node.key", "node.crt"} {
		b.must(os.Rename(filepath.Join(fresh, f), filepath.Join(id, f)))
	}
	b.said(t, "certificate reloaded")
	tool(b.bed, "nbdinfo", "--size", b.with(vm1))
}

// said waits until the source has logged s.
func (b *tlsBed) said(t *testing.T, s string) {
	t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(b.site.Source.LogTail(1000), s); time.Sleep(100 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the source does not say %q", s)
		}
	}
}
