package cluster

import (
	"bytes"
	"testing"
)

// The bytes are those of nodes that run beside this one.
func TestPong(t *testing.T) {
	want := []byte("\x06Leader\x00\x00\x00\x00\x00\x00\x01\x02")
	if got := writePong("Leader", 0x102); !bytes.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	for n := range want {
		if role, applied, ok := readPong(want[:n]); ok {
			t.Errorf("cut at %d: %q %d", n, role, applied)
		}
	}
}

func FuzzReadPong(f *testing.F) {
	f.Add(writePong("Follower", 1<<40))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if role, applied, ok := readPong(b); ok && !bytes.Equal(writePong(role, applied), b) {
			t.Fatalf("%x reads as %q, %d", b, role, applied)
		}
	})
}
