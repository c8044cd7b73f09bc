package seeded

import (
	"fmt"
	"strings"
	"testing"
)

// logged keeps what a test logs, and how it failed.
type logged struct {
	testing.TB
	text   string
	failed bool
}

func (l *logged) Helper()                        {}
func (l *logged) Logf(format string, v ...any)   { l.text += fmt.Sprintf(format, v...) }
func (l *logged) Fatalf(format string, v ...any) { l.failed = true; panic(l) }

// The seed that is printed gives the same numbers again.
func TestPrintedSeedGivesTheSame(t *testing.T) {
	t.Setenv("REDOUBT_SEED", "")
	first := &logged{TB: t}
	want := Rand(first).Uint64()
	seed, ok := strings.CutPrefix(first.text, "REDOUBT_SEED=")
	if !ok {
		t.Fatalf("printed: %q", first.text)
	}
	t.Setenv("REDOUBT_SEED", seed)
	again := &logged{TB: t}
	if got := Rand(again).Uint64(); got != want || again.text != first.text {
		t.Errorf("%d with %s, then %d with %s", want, first.text, got, again.text)
	}
}

// A seed that is none is an error, not another seed.
func TestBadSeed(t *testing.T) {
	t.Setenv("REDOUBT_SEED", "0x12")
	l := &logged{TB: t}
	defer func() {
		if recover() != l || !l.failed {
			t.Error("taken")
		}
	}()
	Rand(l)
}
