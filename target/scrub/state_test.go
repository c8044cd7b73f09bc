package scrub

import (
	"errors"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func someState() State {
	return State{Pass: 7, Running: true, Started: 1, Finished: 2, File: 3, Off: 4096, Done: 5, Found: Findings{Shards: 6, Rotten: 1}, Last: Findings{Orphans: 9}}
}

// Every flipped bit of the state is seen, and so is every shorter file.
func TestStateFlips(t *testing.T) {
	st := someState()
	b := st.encode()
	got, err := decodeState(b)
	if err != nil {
		t.Fatal(err)
	}
	if got != st {
		t.Errorf("%+v became %+v", st, got)
	}
	for i := range b {
		for bit := range 8 {
			c := append([]byte(nil), b...)
			c[i] ^= 1 << bit
			if _, err := decodeState(c); !errors.Is(err, redoubt.ErrCorrupt) {
				t.Errorf("bit %d of byte %d: %v", bit, i, err)
			}
		}
		if _, err := decodeState(b[:i]); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%d bytes: %v", i, err)
		}
	}
}

func FuzzScrubState(f *testing.F) {
	st := someState()
	f.Add(st.encode())
	f.Add([]byte("{}\n00000000\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if st, err := decodeState(b); err == nil {
			again, err := decodeState(st.encode())
			if err != nil || again != st {
				t.Errorf("%+v became %+v, %v", st, again, err)
			}
		}
	})
}
