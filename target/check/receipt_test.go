package check

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

func someReceipt(node string) *Receipt {
	return &Receipt{Version: receiptVersion, ID: "c1", Group: "db", GroupUUID: "u", Point: redoubt.Position{Epoch: 1, LSN: 7}, PointTime: time.Unix(5, 0).UTC(), Node: node,
		Script: "e2fsck", ScriptSHA256: "00", Passed: true, Started: time.Now().UTC(), Finished: time.Now().UTC(), RTOSeconds: 0.5, OutputTail: "ok\n",
		RootSHA256: "11", Disks: []DiskDigest{{Name: "root", Size: 512, SHA256: "22"}}}
}

func issued(t *testing.T, dir string, id pki.Identity) *pki.Credentials {
	t.Helper()
	out := filepath.Join(dir, string(id.Role)+"-"+id.Name)
	if err := pki.Issue(filepath.Join(dir, "ca"), out, id, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	c, err := pki.Load(out)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestReceiptsAreVerifiedOffline(t *testing.T) {
	dir := t.TempDir()
	ca := filepath.Join(dir, "ca", pki.CACertFile)
	if err := pki.InitCA(filepath.Join(dir, "ca"), "test", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	t1 := issued(t, dir, pki.Identity{Role: pki.RoleTarget, Name: "t1"})
	r := someReceipt("t1")
	b, err := seal(r, t1)
	if err != nil {
		t.Fatal(err)
	}
	got, id, err := Verify(b, ca)
	if err != nil || id.Name != "t1" || got.RootSHA256 != "11" || !got.Finished.Equal(r.Finished) {
		t.Fatalf("%+v, %v, %v", got, id, err)
	}
	denied := func(what string, b []byte) {
		t.Helper()
		if _, _, err := Verify(b, ca); !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s: %v", what, err)
		}
	}
	// The verdict is turned round, the signature stays.
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		t.Fatal(err)
	}
	text, _ := base64.StdEncoding.DecodeString(e.Receipt)
	e.Receipt = base64.StdEncoding.EncodeToString(bytes.Replace(text, []byte(`"passed":true`), []byte(`"passed":false`), 1))
	forged, _ := json.Marshal(e)
	denied("a changed verdict", forged)
	for _, who := range []pki.Identity{{Role: pki.RoleTarget, Name: "t2"}, {Role: pki.RoleOperator, Name: "t1"}} {
		b, err := seal(r, issued(t, dir, who))
		if err != nil {
			t.Fatal(err)
		}
		denied("signed by "+who.String(), b)
	}
	late := someReceipt("t1")
	late.Finished = time.Now().Add(2 * time.Hour)
	if b, err = seal(late, t1); err != nil {
		t.Fatal(err)
	}
	denied("after the certificate's end", b)
	for text, want := range map[string]error{"": redoubt.ErrCorrupt, "{}": redoubt.ErrCorrupt, `{"format":"redoubt-signed-receipt","version":2}`: redoubt.ErrVersion,
		`{"x":1}`: redoubt.ErrCorrupt, strings.Repeat(" ", maxEnvelope+2): redoubt.ErrCorrupt} {
		if _, _, err := Verify([]byte(text), ca); !errors.Is(err, want) {
			t.Errorf("%.40q: %v", text, err)
		}
	}
}

// TestTheLargestReceiptFits fills every field that has a bound, with text that
// JSON makes six times as long, too.
func TestTheLargestReceiptFits(t *testing.T) {
	dir := t.TempDir()
	if err := pki.InitCA(filepath.Join(dir, "ca"), "test", 24*time.Hour); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("n", 64)
	signer := issued(t, dir, pki.Identity{Role: pki.RoleTarget, Name: long})
	for _, text := range []string{"x", "\x1b", "<", "\u2028", "é"} {
		r := someReceipt(long)
		r.OutputTail, r.Script, r.ID = strings.Repeat(text, maxTail/len(text)-1)+"end", long, long
		r.Disks = nil
		for range maxListed {
			r.Disks = append(r.Disks, DiskDigest{Name: long, Size: redoubt.MaxDiskSize, SHA256: strings.Repeat("f", 64)})
		}
		r.fail(errors.New("begin" + strings.Repeat(text, 2*maxTail)))
		b, err := seal(r, signer)
		if err != nil {
			t.Errorf("%q: %d bytes: %v", text, len(b), err)
			continue
		}
		got, _, err := Verify(b, filepath.Join(dir, "ca", pki.CACertFile))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(got.OutputTail, "end") || !strings.HasPrefix(got.Problem, "begin") {
			t.Errorf("%q: %v, %.20q, %.20q", text, err, got.OutputTail, got.Problem)
		}
	}
}

func FuzzOpenReceipt(f *testing.F) {
	f.Add([]byte(`{"format":"redoubt-signed-receipt","version":1,"receipt":"e30=","certificate":"","signature":""}`))
	f.Add([]byte(`{"format":"redoubt-signed-receipt","version":1,"receipt":"e30=","certificate":"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n","signature":"AA=="}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, text, s, err := open(b)
		if err == nil && (r == nil || len(text) == 0 || len(s.Certificate) == 0) {
			t.Errorf("%q is read as %+v", b, r)
		}
	})
}
