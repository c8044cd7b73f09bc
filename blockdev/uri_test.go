package blockdev

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// An address that is taken is the one that is dialled.
func TestSetURI(t *testing.T) {
	dir := t.TempDir()
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	var o AttachOptions
	if err := o.SetURI("nbd://" + tcp.Addr().String() + "/some%20disk"); err != nil || o.Export != "some disk" {
		t.Fatalf("export %q: %v", o.Export, err)
	}
	nc, err := o.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if nc.RemoteAddr().String() != tcp.Addr().String() {
		t.Errorf("dialled %s", nc.RemoteAddr())
	}
	nc.Close()
	socket := filepath.Join(dir, "s")
	if err := o.SetURI("nbd+unix:///x?socket=" + socket); err != nil || o.Socket != socket || o.Export != "x" || o.Dial != nil {
		t.Errorf("socket %q, export %q: %v", o.Socket, o.Export, err)
	}
	for _, uri := range []string{"nbds://host/x", "nbds+unix:///x?socket=/s", "nbd:///x", "nbd://host/x?socket=/s", "nbd+unix:///x", "nbd+unix://host/x?socket=/s",
		"http://host/x", "nbd://host:port/x", "://"} {
		if err := o.SetURI(uri); !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
			t.Errorf("%s: %v, hint %q", uri, err, redoubt.Hint(err))
		}
	}
}
