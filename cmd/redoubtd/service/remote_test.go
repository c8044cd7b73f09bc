package service

import (
	"net"
	"testing"

	"github.com/redoubt-dr/redoubt/source"
)

func TestRemoteURI(t *testing.T) {
	at := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 10809} }
	for _, c := range []struct {
		r         source.Remote
		advertise string
		want      string
	}{
		{source.Remote{}, "host1:7700", ""},
		{source.Remote{Addr: at("127.0.0.1")}, "host1:7700", "nbd://127.0.0.1:10809/d"},
		{source.Remote{Addr: at("10.0.0.5"), TLS: true}, "host1:7700", "nbds://10.0.0.5:10809/d"},
		{source.Remote{Addr: at("0.0.0.0"), TLS: true}, "host1.example.net:7700", "nbds://host1.example.net:10809/d"},
		{source.Remote{Addr: at("::"), TLS: true}, "[2001:db8::1]:7700", "nbds://[2001:db8::1]:10809/d"},
		{source.Remote{Addr: at("::1"), TLS: true}, "host1:7700", "nbds://[::1]:10809/d"},
	} {
		if got := remoteURI("d", c.r, c.advertise); got != c.want {
			t.Errorf("%+v: %q, want %q", c.r, got, c.want)
		}
	}
}
