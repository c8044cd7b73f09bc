package netmux

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"
)

func batches(t *testing.T) (a, b *batch) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return newBatch(c, c), newBatch(s, s)
}

func TestBatchPassesEverythingInOrder(t *testing.T) {
	a, b := batches(t)
	r := rand.New(rand.NewPCG(5, 6))
	data := make([]byte, 8<<20)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	sent := make(chan error, 1)
	go func() {
		r := rand.New(rand.NewPCG(7, 8))
		var err error
		for at := 0; at < len(data) && err == nil; {
			corked := r.IntN(2) == 0
			if corked {
				a.Cork()
			}
			for range r.IntN(40) {
				end := min(len(data), at+r.IntN(1<<r.IntN(20)+1))
				if _, werr := a.Write(data[at:end]); werr != nil {
					err = werr
				}
				at = end
			}
			if corked {
				err = errors.Join(err, a.Uncork())
			}
		}
		sent <- errors.Join(err, a.Conn.(*net.TCPConn).CloseWrite())
	}()
	var got bytes.Buffer
	for {
		p := make([]byte, 1+r.IntN(1<<r.IntN(20)))
		n, err := b.Read(p)
		got.Write(p[:n])
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), data) {
		t.Fatalf("%d bytes of %d arrived, or others", got.Len(), len(data))
	}
	if a.out != nil || b.in != nil {
		t.Fatal("an idle connection holds a buffer")
	}
}

func TestBatchWaits(t *testing.T) {
	a, b := batches(t)
	if _, err := a.Write(make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if n, err := io.ReadFull(b, make([]byte, 100)); err != nil || !b.more {
		t.Fatal(n, err, b.more)
	}
	// The next read would take a large piece; it must heed the deadline, and hold nothing.
	if err := b.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	var ne net.Error
	if _, err := b.Read(make([]byte, 10)); !errors.As(err, &ne) || !ne.Timeout() || b.in != nil {
		t.Fatalf("silence: %v", err)
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	a.Cork()
	if _, err := a.Write([]byte("held back")); err != nil {
		t.Fatal(err)
	}
	if err := b.SetReadDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if n, err := b.Read(make([]byte, 10)); err == nil {
		t.Fatalf("%d bytes came before Uncork", n)
	}
	if err := b.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := a.Uncork(); err != nil {
		t.Fatal(err)
	}
	p := make([]byte, 9)
	if _, err := io.ReadFull(b, p); err != nil || string(p) != "held back" {
		t.Fatal(string(p), err)
	}
	a.Cork()
	a.Close()
	if _, err := a.Write([]byte("lost")); err != nil {
		t.Fatal(err) // it is held back
	}
	if a.Uncork() == nil {
		t.Fatal("a write that failed is not told")
	}
	if _, err := a.Write([]byte("later")); err == nil {
		t.Fatal("nor later")
	}
}
