package wire_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/wire"
)

func frames(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	for i, n := range []int{0, 1, 100, 40 << 10} {
		if err := wire.WriteFrame(&b, uint8(i+1), bytes.Repeat([]byte{byte(i)}, n/2), nil, bytes.Repeat([]byte{7}, n-n/2)); err != nil {
			t.Fatal(err)
		}
	}
	return b.Bytes()
}

func TestFrames(t *testing.T) {
	r := wire.Reader{R: bytes.NewReader(frames(t)), Max: 40 << 10}
	for i, n := range []int{0, 1, 100, 40 << 10} {
		typ, body, err := r.Next()
		if err != nil || typ != uint8(i+1) || len(body) != n {
			t.Fatalf("frame %d: type %d, %d bytes, %v", i, typ, len(body), err)
		}
	}
	if _, _, err := r.Next(); err != io.EOF {
		t.Fatalf("end: %v", err)
	}
	if n, err := wire.Verify(bytes.NewReader(frames(t)), 40<<10); n != 4 || err != nil {
		t.Fatal(n, err)
	}
}

func TestFrameCap(t *testing.T) {
	var b bytes.Buffer
	if err := wire.WriteFrame(&b, 1, make([]byte, 101)); err != nil {
		t.Fatal(err)
	}
	r := wire.Reader{R: &b, Max: 100}
	if _, _, err := r.Next(); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestFrameDamageIsFound(t *testing.T) {
	var buf bytes.Buffer
	if err := wire.WriteFrame(&buf, 9, []byte("content")); err != nil {
		t.Fatal(err)
	}
	b := buf.Bytes()
	for i := range b {
		for bit := range 8 {
			b[i] ^= 1 << bit
			r := wire.Reader{R: bytes.NewReader(b), Max: 1 << 20}
			if _, _, err := r.Next(); !errors.Is(err, redoubt.ErrCorrupt) && err != io.ErrUnexpectedEOF {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			b[i] ^= 1 << bit
		}
	}
	for n := 1; n < len(b); n++ {
		r := wire.Reader{R: bytes.NewReader(b[:n]), Max: 1 << 20}
		if _, _, err := r.Next(); err != io.ErrUnexpectedEOF {
			t.Fatalf("cut to %d: %v", n, err)
		}
	}
}

func TestPreface(t *testing.T) {
	tag := wire.Tag{'T', 'E', 'S', 'T'}
	var b bytes.Buffer
	if err := wire.WritePreface(&b, tag); err != nil {
		t.Fatal(err)
	}
	good := b.Bytes()
	try := func(change func(b []byte)) error {
		c := bytes.Clone(good)
		change(c)
		return wire.ReadPreface(bytes.NewReader(c), tag)
	}
	if err := try(func([]byte) {}); err != nil {
		t.Fatal(err)
	}
	if err := try(func(b []byte) { b[6]++ }); !errors.Is(err, redoubt.ErrVersion) {
		t.Fatalf("newer: %v", err)
	}
	if err := try(func(b []byte) { copy(b, "HTTP/1") }); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Fatalf("magic: %v", err)
	}
	if err := try(func(b []byte) { b[8] = 'X' }); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Fatalf("protocol: %v", err)
	}
}

func TestErrorsTravel(t *testing.T) {
	in := &redoubt.Error{Op: "a", Object: "b", Hint: "c", Err: fmt.Errorf("d: %w: %w", redoubt.ErrFenced, context.DeadlineExceeded)}
	out := wire.DecodeError("ask", "n1", wire.EncodeError(in))
	if !errors.Is(out, redoubt.ErrFenced) || !errors.Is(out, context.DeadlineExceeded) || errors.Is(out, redoubt.ErrGap) || redoubt.Hint(out) != "c" {
		t.Fatalf("%v, hint %q", out, redoubt.Hint(out))
	}
	if err := wire.DecodeError("ask", "n1", []byte("{")); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Fatal(err)
	}
}

func TestIdleReader(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	r := wire.IdleReader{Conn: a, Timeout: 50 * time.Millisecond}
	var ne net.Error
	if _, err := r.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("silence: %v", err)
	}
	done := make(chan struct{})
	close(done)
	r = wire.IdleReader{Conn: a, Timeout: time.Hour, Done: done}
	if _, err := r.Read(make([]byte, 1)); !errors.As(err, &ne) || !ne.Timeout() {
		t.Fatalf("done: %v", err)
	}
}

func FuzzFrames(f *testing.F) {
	f.Add(frames(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := wire.Reader{R: bytes.NewReader(b), Max: 1 << 16}
		var again bytes.Buffer
		for {
			typ, body, err := r.Next()
			if err != nil {
				break
			}
			if err := wire.WriteFrame(&again, typ, body); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(b, again.Bytes()) {
			t.Fatal("what was read does not encode to what was written")
		}
	})
}

func FuzzError(f *testing.F) {
	f.Add(wire.EncodeError(redoubt.ErrGap))
	f.Fuzz(func(t *testing.T, b []byte) {
		if wire.DecodeError("a", "b", b) == nil {
			t.Fatal("nil")
		}
	})
}
