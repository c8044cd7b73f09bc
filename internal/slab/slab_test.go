package slab

import (
	"testing"
)

func TestClasses(t *testing.T) {
	last := -1
	for n := Min - 1; n <= Max+1; n += 509 {
		for _, n := range []int{n, n &^ 4095} {
			c, size := class(n)
			if n < Min || n > Max {
				if c != -1 {
					t.Fatalf("%d bytes: class %d", n, c)
				}
				continue
			}
			if c < 0 || c >= classes || size < n || 4*size > 5*n+4*4096 {
				t.Fatalf("%d bytes: class %d of %d bytes", n, c, size)
			}
			if c2, size2 := class(size); c2 != c || size2 != size {
				t.Fatalf("%d bytes: class %d of %d bytes, which is of class %d, %d bytes", n, c, size, c2, size2)
			}
			if n&4095 != 0 && c < last {
				t.Fatalf("%d bytes: class %d after %d", n, c, last)
			}
			last = max(last, c)
		}
	}
	if c, _ := class(Max); c >= classes {
		t.Fatal(c)
	}
}

func TestRecycled(t *testing.T) {
	for _, n := range []int{0, 1, Min, Min + 1, 4<<20 + 4096, Max, Max + 1} {
		b := Get(n)
		if len(b) != n {
			t.Fatalf("%d bytes of %d", len(b), n)
		}
		Put(b)
	}
	Put(make([]byte, 100_000)) // of no class: left alone
	if b := Get(100_000); cap(b) == 100_000 {
		t.Fatalf("capacity %d", cap(b))
	}
	again := 0
	for range 100 { // not always: a collection of garbage may come between
		b := Get(1 << 20)
		at := &b[0]
		Put(b[:1])
		if b = Get(1 << 20); &b[0] == at {
			again++
		}
		Put(b)
	}
	if again < 50 {
		t.Fatalf("%d of 100 buffers were used again", again)
	}
}
