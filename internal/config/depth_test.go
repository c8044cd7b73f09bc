package config

import (
	"errors"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// A document of 64 KiB, as a peer may send it, kept the parser busy for minutes.
func TestNestingIsBounded(t *testing.T) {
	var v struct {
		A []string `yaml:"a"`
	}
	none := func() Faults { return nil }
	for _, piece := range []string{"[", "{a: ", "- ", "? ", "&a ", "!a ", "*a "} {
		err := Decode([]byte(strings.Repeat(piece, 64<<10/len(piece))), &v, none)
		if !errors.Is(err, redoubt.ErrInvalid) || !strings.Contains(err.Error(), "nested too deeply") {
			t.Errorf("%q: %.200v", piece, err)
		}
	}
	flat := "a: [" + strings.Repeat("b, ", 1000) + "b]\n"
	if err := Decode([]byte(flat), &v, none); err != nil || len(v.A) != 1001 {
		t.Errorf("a long list: %d, %v", len(v.A), err)
	}
	flat = "a:\n" + strings.Repeat("  - b\n", 1000)
	if err := Decode([]byte(flat), &v, none); err != nil || len(v.A) != 1000 {
		t.Errorf("long list of lines: %d, %v", len(v.A), err)
	}
}
