package config

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestParseSize(t *testing.T) {
	for s, want := range map[string]Size{
		"0": 0, "4096": 4096, "4GiB": 4 * GiB, "64 MiB": 64 * MiB, "1.5GiB": 1536 * MiB, "7B": 7, "0.5KiB": 512, "8388607TiB": 8388607 * TiB,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "4GB", "4G", "GiB", "-1", "+1KiB", "1e3", "0x10", "1_000", "0.3KiB", "8388608TiB", "99999999999999999999", "NaN", "inf KiB", "1 2", "4GiBB"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("%q: got %d, want an error", s, got)
		}
	}
}

func TestSizeRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Size(rapid.Uint64Range(0, 1<<62).Draw(t, "size"))
		if got, err := ParseSize(s.String()); err != nil || got != s {
			t.Fatalf("%d -> %q -> %d, %v", uint64(s), s.String(), uint64(got), err)
		}
	})
}

func TestParseDuration(t *testing.T) {
	for s, want := range map[string]time.Duration{"30s": 30 * time.Second, "1m30s": 90 * time.Second, "250ms": 250 * time.Millisecond, "0s": 0} {
		if got, err := ParseDuration(s); err != nil || got.Std() != want {
			t.Errorf("%q: got %v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "30", "-1s", "1d", "s"} {
		if got, err := ParseDuration(s); err == nil {
			t.Errorf("%q: got %v, want an error", s, got)
		}
	}
}
