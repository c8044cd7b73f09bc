package admin

import (
	"errors"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt"
)

func TestParsePoint(t *testing.T) {
	for in, want := range map[string]string{
		"":                                    "latest",
		"latest":                              "latest",
		"lsn:4711":                            "lsn:4711",
		"4711":                                "lsn:4711",
		"2:4711":                              "2:4711",
		"22:15":                               "22:15", // not a time of day
		"bookmark:before-update":              "bookmark:before-update",
		"2026-11-22T22:15:03Z":                "2026-11-22T22:15:03Z",
		"2026-11-22T22:15:03.000000001+01:00": "2026-11-22T21:15:03.000000001Z",
		"unix:1795385703123456789":            time.Unix(0, 1795385703123456789).UTC().Format(time.RFC3339Nano),
	} {
		p, err := ParsePoint(in)
		if err != nil || FormatPoint(p) != want {
			t.Errorf("%q: got %q, %v; want %q", in, FormatPoint(p), err, want)
		}
	}
	for _, in := range []string{"now", "lsn:", "lsn:-1", "lsn:x", "lsn:0", "0", "00", "0:0", "0:5", "1:0", ":", "1:", "1:2:3", "unix:1.5", "bookmark:", "bookmark:a b", "2026-11-22", "2026-11-22 22:15:03", "2026-11-22T22:15:03", "22:15:03", "18446744073709551616:1"} {
		if p, err := ParsePoint(in); !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
			t.Errorf("%q: got %q, %v", in, FormatPoint(p), err)
		}
	}
}

func FuzzParsePoint(f *testing.F) {
	f.Add("lsn:1")
	f.Add("2026-11-22T22:15:03.25Z")
	f.Add("1:2")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePoint(s)
		if err != nil {
			return
		}
		q, err := ParsePoint(FormatPoint(p))
		if err != nil || !proto.Equal(p, q) {
			t.Errorf("%q -> %q -> %v, %v", s, FormatPoint(p), q, err)
		}
	})
}
