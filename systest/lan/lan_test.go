package lan

import (
	"os/exec"
	"testing"
	"time"
)

// send sends 1000 bytes in one frame.
func send(l *LAN, from, to int) bool {
	in := l.Host(from).In()
	args := append(in[1:], "bash", "-c", "printf %01000d 0 >/dev/udp/$0/9", l.Host(to).Addr)
	return exec.Command(in[0], args...).Run() == nil
}

// What one host sends the other's kernel counts, unless that direction is cut.
func TestWays(t *testing.T) {
	if err := Can(); err != nil {
		t.Skip(err)
	}
	l, err := New(3, 1500)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	}()
	arrives := func(from, to int) bool {
		t.Helper()
		before, err := l.Host(to).Count()
		if err != nil {
			t.Fatal(err)
		}
		if !send(l, from, to) {
			t.Fatal("cannot send")
		}
		for range 20 {
			after, err := l.Host(to).Count()
			if err != nil {
				t.Fatal(err)
			}
			if after.Received-before.Received >= 1000 {
				return true
			}
			time.Sleep(10 * time.Millisecond)
		}
		return false
	}
	if !arrives(0, 1) || !arrives(1, 0) || !arrives(2, 1) {
		t.Fatal("a free way loses frames")
	}
	l.Set(0, 1, Way{Cut: true})
	if arrives(0, 1) {
		t.Error("a cut way carries frames")
	}
	if !arrives(1, 0) || !arrives(0, 2) {
		t.Error("only one direction was cut")
	}
	l.Set(0, 1, Way{Delay: 50 * time.Millisecond, Rate: 1 << 20})
	start := time.Now()
	if !arrives(0, 1) || time.Since(start) < 50*time.Millisecond {
		t.Error("a slow way is not slow, or carries nothing")
	}
	l.Heal()
	if !arrives(0, 1) {
		t.Error("the way is still cut")
	}
}
