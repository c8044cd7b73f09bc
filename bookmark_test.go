package redoubt

import (
	"bytes"
	"errors"
	"testing"
)

func TestBookmarkKeepsWhatItSays(t *testing.T) {
	set := SetID{15: 7}
	for _, b := range []Bookmark{{Name: "a"}, {Name: "nightly", App: true}, {Name: "x", Set: set}, {Name: "x", App: true, Set: set}} {
		got, err := ParseBookmark(b.Encode())
		if err != nil || got != b {
			t.Errorf("%+v: %+v, %v", b, got, err)
		}
	}
	if p, err := ParseSetID(set.String()); err != nil || p != set {
		t.Errorf("set %v: %v, %v", set, p, err)
	}
	for data, want := range map[string]error{
		"": ErrCorrupt, "a b": ErrCorrupt, "a\x00": ErrCorrupt, "a\x00\x00": ErrCorrupt, "a\x00\x01x": ErrCorrupt,
		"a\x00\x02short": ErrCorrupt, "a\x00\x02" + string(make([]byte, 16)): ErrCorrupt, "a\x00\x04": ErrVersion,
	} {
		if b, err := ParseBookmark([]byte(data)); !errors.Is(err, want) {
			t.Errorf("%q: %+v, %v, want %v", data, b, err, want)
		}
	}
}

func FuzzParseBookmark(f *testing.F) {
	f.Add([]byte("nightly"))
	f.Add(Bookmark{Name: "a", App: true, Set: SetID{1}}.Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if b, err := ParseBookmark(data); err == nil && !bytes.Equal(b.Encode(), data) {
			t.Errorf("%q is %+v, which is %q", data, b, b.Encode())
		}
	})
}
