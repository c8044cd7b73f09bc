package blockdev

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pojntfx/go-nbd/pkg/protocol"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// authority issues certificates for a test.
type authority struct {
	t   *testing.T
	dir string
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t, filepath.Join(t.TempDir(), "ca")}
	if err := pki.InitCA(a.dir, "test", time.Hour); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue returns a folder as `redoubt ca issue` makes it.
func (a *authority) issue(role pki.Role, name string, hosts ...string) string {
	a.t.Helper()
	dir := filepath.Join(a.t.TempDir(), name)
	if err := pki.Issue(a.dir, dir, pki.Identity{Role: role, Name: name}, hosts, time.Hour); err != nil {
		a.t.Fatal(err)
	}
	if err := pki.LinkForNBD(dir); err != nil {
		a.t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, dir string) *pki.Credentials {
	t.Helper()
	c, err := pki.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// serveTLS serves sv over TCP too; each export to the clients that are named.
func (sv *served) serveTLS(t *testing.T, cred *pki.Credentials, may map[string][]string) net.Addr {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- sv.s.ServeTLS(l, Security{Config: cred.ServerTLS(), Authorise: func(s tls.ConnectionState, export string) error {
			id, err := pki.PeerIdentity(s)
			if err == nil && (id.Role != pki.RoleClient || !slices.Contains(may[export], id.Name)) {
				err = fmt.Errorf("%s is not for %s", export, id)
			}
			return err
		}})
	}()
	t.Cleanup(func() {
		l.Close()
		if err := <-done; err != nil {
			t.Errorf("serve TLS: %v", err)
		}
	})
	return l.Addr()
}

func dialTCP(t *testing.T, a net.Addr) *client {
	t.Helper()
	nc, err := net.Dial("tcp", a.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(20 * time.Second))
	return &client{t: t, nc: nc}
}

// upgrade does STARTTLS and the TLS handshake.
func (c *client) upgrade(cfg *tls.Config) error {
	c.t.Helper()
	if typ, _ := c.option(optStartTLS, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		c.t.Fatalf("STARTTLS: %#x", typ)
	}
	tc := tls.Client(c.nc, cfg)
	c.nc = tc
	return tc.Handshake()
}

func TestForcedTLS(t *testing.T) {
	a := newAuthority(t)
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20, 64<<10))
	addr := sv.serveTLS(t, load(t, a.issue(pki.RoleSource, "host1")), map[string][]string{"d1": {"vm1"}})
	vm1 := load(t, a.issue(pki.RoleClient, "vm1"))

	c := dialTCP(t, addr)
	c.hello(3)
	for _, id := range []uint32{3, 6, 7, optStructured, optListMeta, optSetMeta, 11, 77} {
		if typ, got := c.option(id, goData("d1")); typ != repErrTLS || len(got) > 0 {
			t.Errorf("option %d before TLS: %#x %q", id, typ, got)
		}
	}
	if typ, _ := c.option(optStartTLS, []byte("x")); typ != repErrInvalid {
		t.Errorf("STARTTLS with data: %#x", typ)
	}
	if err := c.upgrade(vm1.ClientTLS("", pki.RoleSource)); err != nil {
		t.Fatal(err)
	}
	if typ, _ := c.option(optStartTLS, nil); typ != repErrInvalid {
		t.Errorf("STARTTLS twice: %#x", typ)
	}
	if typ, list := c.option(3, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK || len(list) != 1 || !bytes.Contains(list[0], []byte("d1")) {
		t.Errorf("list: %#x %q", typ, list)
	}
	for _, id := range []uint32{6, 7} {
		if typ, _ := c.option(id, goData("d2")); typ != repErrPolicy {
			t.Errorf("option %d for a disk of others: %#x", id, typ)
		}
	}
	if typ, _ := c.option(7, goData("nope")); typ != protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN {
		t.Errorf("unknown export: %#x", typ)
	}
	if typ, _ := c.option(7, goData("d1")); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Fatalf("go: %#x", typ)
	}
	data := bytes.Repeat([]byte("tls."), 100<<10)
	if errno, _ := c.do(cmdFlagFUA, cmdWrite, 4096, uint32(len(data)), data); errno != 0 {
		t.Errorf("write: %d", errno)
	}
	if errno, got := c.do(0, cmdRead, 4096, uint32(len(data)), nil); errno != 0 || !bytes.Equal(got, data) {
		t.Errorf("read: %d, equal %v", errno, bytes.Equal(got, data))
	}
	// An orderly end is said in TLS, too.
	c.send(header(0, cmdDisc, 0, 0, 0))
	if _, err := c.nc.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("after DISC: %v", err)
	}
	if !sv.log.has("client=client/vm1") {
		t.Error("the log does not say who came")
	}
}

func TestTLSRefuses(t *testing.T) {
	a := newAuthority(t)
	sv := serve(t, ServerOptions{HandshakeTimeout: 2 * time.Second}, newRig(t, GroupOptions{}, nil, 1<<20))
	addr := sv.serveTLS(t, load(t, a.issue(pki.RoleSource, "host1")), map[string][]string{"d1": {"vm1"}})
	vm1 := load(t, a.issue(pki.RoleClient, "vm1"))
	nameless := vm1.ClientTLS("")
	nameless.Certificates = nil
	old := vm1.ClientTLS("")
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	stranger := load(t, newAuthority(t).issue(pki.RoleClient, "vm1")).ClientTLS("")
	stranger.VerifyConnection = nil
	for name, cfg := range map[string]*tls.Config{"no certificate": nameless, "TLS 1.2": old, "other authority": stranger} {
		t.Run(name, func(t *testing.T) {
			c := dialTCP(t, addr)
			c.hello(3)
			err := c.upgrade(cfg)
			if err == nil { // in TLS 1.3 the client learns it from its first read
				_, err = c.nc.Read(make([]byte, 1))
			}
			if err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("got %v", err)
			}
		})
	}
	for _, id := range []pki.Identity{{Role: pki.RoleClient, Name: "vm2"}, {Role: pki.RoleOperator, Name: "vm1"}, {Role: pki.RoleSource, Name: "vm1"}} {
		c := dialTCP(t, addr)
		c.hello(3)
		if err := c.upgrade(load(t, a.issue(id.Role, id.Name)).ClientTLS("")); err != nil {
			t.Fatal(err)
		}
		if typ, list := c.option(3, nil); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK || len(list) != 0 {
			t.Errorf("%s sees %q", id, list)
		}
		if typ, _ := c.option(7, goData("d1")); typ != repErrPolicy {
			t.Errorf("%s: go: %#x", id, typ)
		}
		c.send(option(optExportName, []byte("d1")))
		c.gone()
	}

	// EXPORT_NAME has no error reply.
	c := dialTCP(t, addr)
	c.hello(3)
	c.send(option(optExportName, []byte("d1")))
	c.gone()

	// What follows STARTTLS in the clear must not be taken for an option.
	c = dialTCP(t, addr)
	c.hello(3)
	c.send(append(option(optStartTLS, nil), option(7, goData("d1"))...))
	got, _ := io.ReadAll(c.nc)
	if len(got) < 20 || binary.BigEndian.Uint32(got[12:]) != protocol.NEGOTIATION_TYPE_REPLY_ACK || bytes.Contains(got[20:], reply(7, protocol.NEGOTIATION_TYPE_REPLY_ACK)) {
		t.Errorf("injected option: %x", got)
	}
	if !sv.log.has("the peer does not speak TLS") {
		t.Error("the log does not say what was wrong with the injected option")
	}
	if h := redoubt.Hint(pki.Explain(tls.RecordHeaderError{})); h == "" || !sv.log.has(h[:20]) {
		t.Error("the log has no hint")
	}
}

// TestTLSRealClients uses the folder of a certificate as libnbd and QEMU want it.
func TestTLSRealClients(t *testing.T) {
	needTool(t, "libnbd-bin", "nbdinfo")
	a := newAuthority(t)
	const size = 16 << 20
	st := newSite(t, size)
	addr := st.serveTLS(t, load(t, a.issue(pki.RoleSource, "host1", "127.0.0.1", "localhost")), map[string][]string{"d1": {"vm1"}})
	other := st.serveTLS(t, load(t, a.issue(pki.RoleSource, "host2", "elsewhere.example")), map[string][]string{"d1": {"vm1"}})
	uri := func(dir, export string) string {
		return "nbds://" + addr.String() + "/" + export + "?tls-certificates=" + dir
	}
	vm1, vm2 := a.issue(pki.RoleClient, "vm1"), a.issue(pki.RoleClient, "vm2")

	out := mustTool(t, "libnbd-bin", "nbdinfo", uri(vm1, "d1"))
	for _, want := range []string{"newstyle-fixed with TLS", "export-size: 16777216", "can_multi_conn: true"} {
		if !strings.Contains(out, want) {
			t.Errorf("nbdinfo does not say %q:\n%s", want, out)
		}
	}
	t.Logf("%s", strings.SplitN(out, "\n", 2)[0])
	if out := mustTool(t, "libnbd-bin", "nbdinfo", "--list", uri(vm1, "")); !strings.Contains(out, `export="d1"`) {
		t.Errorf("list:\n%s", out)
	}
	in := sample(t, size)
	back := filepath.Join(t.TempDir(), "back")
	mustTool(t, "libnbd-bin", "nbdcopy", "--flush", in, uri(vm1, "d1"))
	mustTool(t, "libnbd-bin", "nbdcopy", uri(vm1, "d1"), back)
	if hashFile(t, in) != hashFile(t, back) {
		t.Error("the copy differs")
	}
	for name, u := range map[string]string{
		"plain":             "nbd://" + addr.String() + "/d1",
		"another's disk":    uri(vm2, "d1"),
		"other authority":   uri(newAuthority(t).issue(pki.RoleClient, "vm1"), "d1"),
		"wrong server name": strings.Replace(uri(vm1, "d1"), addr.String(), other.String(), 1),
	} {
		out, err := tool(t, "nbdinfo", u)
		if err == nil {
			t.Errorf("%s was let in:\n%s", name, out)
		}
		t.Logf("%s: %s", name, strings.TrimSpace(out))
	}
	if _, err := tool(t, "qemu-img", "--version"); err == nil {
		host, port, _ := net.SplitHostPort(addr.String())
		out, err := tool(t, "qemu-img", "compare", "--object", "tls-creds-x509,id=tls0,endpoint=client,dir="+vm1,
			"--image-opts", "driver=raw,file.filename="+in, "driver=nbd,host="+host+",port="+port+",export=d1,tls-creds=tls0")
		if err != nil {
			t.Errorf("qemu-img: %v\n%s", err, out)
		}
		t.Logf("qemu-img: %s", strings.TrimSpace(out))
	}
}

// A new certificate is for new connections; those that exist go on.
func TestTLSReload(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	sv := serve(t, ServerOptions{}, newRig(t, GroupOptions{}, nil, 1<<20))
	dir := a.issue(pki.RoleSource, "host1")
	cred := load(t, dir)
	addr := sv.serveTLS(t, cred, map[string][]string{"d1": {"vm1"}})
	enter := func(a *authority) (*client, error) {
		c := dialTCP(t, addr)
		c.hello(3)
		if err := c.upgrade(load(t, a.issue(pki.RoleClient, "vm1")).ClientTLS("", pki.RoleSource)); err != nil {
			return nil, err
		}
		typ, _, err := ask(c.nc, 7, goData("d1"))
		if err == nil && typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
			err = fmt.Errorf("go: %#x", typ)
		}
		return c, err
	}
	old, err := enter(a)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(dir, "new"), os.DirFS(b.issue(pki.RoleSource, "host1"))); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{pki.NodeCertFile, pki.NodeKeyFile, pki.CACertFile} {
		if err := os.Rename(filepath.Join(dir, "new", f), filepath.Join(dir, f)); err != nil {
			t.Fatal(err)
		}
	}
	if changed, err := cred.Reload(time.Now()); err != nil || !changed {
		t.Fatalf("changed %v, %v", changed, err)
	}
	young, err := enter(b)
	if err != nil {
		t.Fatalf("with the new authority: %v", err)
	}
	if _, err := enter(a); err == nil {
		t.Error("a certificate of the old authority is still accepted")
	}
	for _, c := range []*client{old, young} {
		if errno, _ := c.do(0, cmdFlush, 0, 0, nil); errno != 0 {
			t.Errorf("flush: %d", errno)
		}
	}
}

// What the watch does to connections holds over TLS, too: a read that was woken
// goes on, one that takes nothing ends, half a TLS handshake times out.
func TestTLSWatch(t *testing.T) {
	const size = 32 << 20
	a := newAuthority(t)
	sv := serve(t, ServerOptions{IdleAfter: 30 * time.Millisecond, StallTimeout: 400 * time.Millisecond, HandshakeTimeout: time.Second},
		newRig(t, GroupOptions{}, nil, size))
	addr := sv.serveTLS(t, load(t, a.issue(pki.RoleSource, "host1")), map[string][]string{"d1": {"vm1"}})
	vm1 := load(t, a.issue(pki.RoleClient, "vm1"))
	c := dialTCP(t, addr)
	c.hello(3)
	if err := c.upgrade(vm1.ClientTLS("")); err != nil {
		t.Fatal(err)
	}
	if typ, _ := c.option(7, goData("d1")); typ != protocol.NEGOTIATION_TYPE_REPLY_ACK {
		t.Fatalf("go: %#x", typ)
	}
	srv := sv.only(t)
	data := bytes.Repeat([]byte("0123456789abcdef"), 20<<10)
	for round := range uint64(3) {
		eventually(t, "the connection rests", func() bool { return srv.pulse.read.Load()&(pulseRest|pulseBusy) == pulseRest|pulseBusy })
		if errno, _ := c.do(0, cmdWrite, round<<20, uint32(len(data)), data); errno != 0 {
			t.Fatalf("write: %d", errno)
		}
		if errno, got := c.do(0, cmdRead, round<<20, uint32(len(data)), nil); errno != 0 || !bytes.Equal(got, data) {
			t.Fatalf("read: %d", errno)
		}
	}
	for i := range uint64(8) {
		c.send(header(0, cmdRead, i, 0, 16<<20))
	}
	eventually(t, "the deaf client is thrown out", func() bool { return sv.s.Conns() == 0 })
	if !sv.log.has("does not take its answers") {
		t.Error("the log does not say why")
	}
	half := dialTCP(t, addr)
	half.hello(3)
	half.option(optStartTLS, nil)
	half.send([]byte{22, 3, 1, 2}) // the beginning of a record
	half.gone()
}
