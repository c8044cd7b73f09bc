package handover

import (
	"errors"
	"reflect"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func sample() *State {
	return &State{
		Listeners: []Listener{{Key: "unix:/run/redoubt/db.sock", FD: -1}, {Key: "tcp:0.0.0.0:7700", FD: -1}},
		Conns: []Conn{
			{FD: -1, Group: "db", Export: "root", Disk: "uuid /dev/sda", Size: 1 << 40, Structured: true, Allocation: true, Left: []byte("half a header")},
			{FD: -1, Group: "db", Export: "data", Size: 512, Structured: true, Write: &PartWrite{Cookie: 1 << 63, FUA: true, Errno: 28, Off: 7, Left: 9}, Left: make([]byte, MaxLeft)},
			{FD: -1},
		},
	}
}

func TestStateRoundTrip(t *testing.T) {
	for _, s := range []*State{sample(), {}} {
		b, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		got, err := decode(b)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, s) {
			t.Errorf("got %+v, want %+v", got, s)
		}
	}
}

func TestDamagedStateIsRefused(t *testing.T) {
	s := sample()
	s.Conns[1].Left = s.Conns[1].Left[:100]
	b, err := s.encode()
	if err != nil {
		t.Fatal(err)
	}
	for i := range b {
		bad := append([]byte(nil), b...)
		bad[i] ^= 0x41
		want := redoubt.ErrCorrupt
		if i == 6 || i == 7 {
			want = redoubt.ErrVersion
		}
		if _, err := decode(bad); !errors.Is(err, want) {
			t.Fatalf("byte %d flipped: %v", i, err)
		}
		if _, err := decode(b[:i]); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Fatalf("cut to %d bytes: %v", i, err)
		}
	}
	if _, err := decode(append(b, 0)); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Fatalf("one byte more: %v", err)
	}
}

func TestStateHasBounds(t *testing.T) {
	for name, s := range map[string]*State{
		"left":  {Conns: []Conn{{Left: make([]byte, MaxLeft+1)}}},
		"name":  {Conns: []Conn{{Group: string(make([]byte, maxString+1))}}},
		"conns": {Conns: make([]Conn, maxCount+1)},
		"all":   {Conns: full(maxState/MaxLeft + 1)},
	} {
		if _, err := s.encode(); !errors.Is(err, redoubt.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func full(n int) []Conn {
	left := make([]byte, MaxLeft)
	out := make([]Conn, n)
	for i := range out {
		out[i].Left = left
	}
	return out
}

// What decodes is a state that encodes to the same bytes.
func FuzzState(f *testing.F) {
	for _, s := range []*State{sample(), {}} {
		if len(s.Conns) > 0 {
			s.Conns[1].Left = []byte{1}
		}
		b, err := s.encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[headLen:])
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := decodeBody(&reader{b: body})
		if err != nil {
			return
		}
		b, err := s.encode()
		if err != nil {
			t.Fatalf("decoded, but does not encode: %v", err)
		}
		again, err := decode(b)
		if err != nil || !reflect.DeepEqual(again, s) {
			t.Fatalf("%+v became %+v, %v", s, again, err)
		}
	})
}

// The head, whose checksum keeps the fuzzer out of the body.
func FuzzStateHead(f *testing.F) {
	b, err := sample().encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b[:64])
	f.Fuzz(func(t *testing.T, b []byte) {
		if s, err := decode(b); err == nil && s == nil {
			t.Fatal("neither a state nor an error")
		}
	})
}
