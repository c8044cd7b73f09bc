package handover

import (
	"net"
	"net/netip"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// serves reports whether an inherited socket is the one for key: because its
// last life says so, or because of the address that it is bound to.
func (l Listener) serves(key string) bool {
	if l.Key == key {
		return true
	}
	if path, ok := strings.CutPrefix(key, "unix:"); ok {
		bound, isUnix := strings.CutPrefix(l.Key, "unix:")
		return isUnix && filepath.Clean(bound) == filepath.Clean(path)
	}
	have, ok1 := tcpAddr(l.Key)
	want, ok2 := tcpAddr(key)
	if !ok1 || !ok2 || have.Port() != want.Port() || want.Port() == 0 {
		return false
	}
	return have.Addr() == want.Addr() || have.Addr().IsUnspecified() && want.Addr().IsUnspecified()
}

// tcpAddr parses a key; no host means all addresses.
func tcpAddr(key string) (netip.AddrPort, bool) {
	s, ok := strings.CutPrefix(key, "tcp:")
	if !ok {
		return netip.AddrPort{}, false
	}
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return netip.AddrPort{}, false
	}
	if host == "" {
		host = "::"
	}
	a, err := netip.ParseAddrPort(net.JoinHostPort(host, port))
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port()), err == nil
}

// boundTo returns the key of a listening socket from its address, or false if
// fd is none.
func boundTo(fd int) (string, bool) {
	if v, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil || v == 0 {
		return "", false
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", false
	}
	switch a := sa.(type) {
	case *unix.SockaddrUnix:
		return "unix:" + a.Name, true
	case *unix.SockaddrInet4:
		return "tcp:" + netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String(), true
	case *unix.SockaddrInet6:
		return "tcp:" + netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)).String(), true
	}
	return "", false
}
