package netmux_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Whoever has no certificate takes no place from those who have one.
func TestStrangersKeepNobodyOut(t *testing.T) {
	c := newCerts(t)
	m, _ := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Conns: 4, Handshake: time.Minute})
	greeter(t, m.Listener(netmux.ProtoShip))
	for range 20 {
		silent(t, m)
	}
	conn, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, c.of(pki.RoleSource, "s"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// When too many are in their handshake the one that dawdles most leaves.
func TestOldestStrangerLeaves(t *testing.T) {
	c := newCerts(t)
	m, _ := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Strangers: 2, Handshake: time.Minute})
	m.Listener(netmux.ProtoShip)
	first, second := silent(t, m), silent(t, m)
	silent(t, m)
	first.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := first.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) || err == nil {
		t.Fatalf("the first one: %v", err)
	}
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the second one: %v", err)
	}
}

// silent connects and says nothing that would end its handshake.
func silent(t *testing.T, m *netmux.Mux) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", m.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := c.Write([]byte{0x16, 3, 1, 2, 0}); err != nil {
		t.Fatal(err)
	}
	return c
}

// A certificate in wrong hands takes a part of the places, not all.
func TestOnePeerLeavesRoomForOthers(t *testing.T) {
	c := newCerts(t)
	m, log := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Conns: 8})
	l := m.Listener(netmux.ProtoShip)
	go func() {
		for {
			if _, err := l.Accept(); err != nil {
				return
			}
		}
	}()
	greedy := c.of(pki.RoleSource, "greedy")
	got := 0
	for range 12 {
		conn, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, greedy)
		if err == nil {
			got++
			defer conn.Close()
		}
	}
	if got == 0 || got == 8 || !log.has("too many are open") {
		t.Fatalf("one peer has %d of 8 connections", got)
	}
	conn, err := netmux.Dial(context.Background(), m.Addr().String(), netmux.ProtoShip, c.of(pki.RoleSource, "other"))
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

// A client that begins a handshake and stalls is cut off.
func TestStalledHandshake(t *testing.T) {
	c := newCerts(t)
	m, _ := listen(t, c.of(pki.RoleTarget, "n1"), netmux.Limits{Handshake: 100 * time.Millisecond})
	stall := silent(t, m)
	stall.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.ReadAll(stall); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatal("still open after a minute")
	}
}
