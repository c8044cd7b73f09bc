package peers

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A body gives back what was put in, and a body that is cut or lies is refused.
func TestBodies(t *testing.T) {
	type request struct{ Group, Why string }
	want := request{"shop", "a reason"}
	b := append(Encode(want), "bytes"...)
	var got request
	rest, err := Decode(b, &got)
	if err != nil || got != want || string(rest) != "bytes" {
		t.Fatalf("%+v, %q, %v", got, rest, err)
	}
	for n := range len(b) - len("bytes") {
		if _, err := Decode(b[:n], &got); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%d bytes of the body: %v", n, err)
		}
	}
	for _, b := range [][]byte{{255, 255, 255, 255, '{', '}'}, {2, 0, 0, 0, '{', '{'}, {3, 0, 0, 0, '{', '}'}} {
		if _, err := Decode(b, &got); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%q: %v", b, err)
		}
	}
}
