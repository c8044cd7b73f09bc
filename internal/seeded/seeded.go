// Package seeded gives tests chance that can be had again: the seed is printed,
// and REDOUBT_SEED sets it. Only tests import it.
package seeded

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"
)

// Rand returns a source of chance. Its seed is printed as REDOUBT_SEED=N, and is
// that of the environment if it is set there; what is no number there fails the test.
func Rand(t testing.TB) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if v := os.Getenv("REDOUBT_SEED"); v != "" {
		var err error
		if seed, err = strconv.ParseUint(v, 10, 64); err != nil {
			t.Fatalf("REDOUBT_SEED: %v", err)
		}
	}
	t.Logf("REDOUBT_SEED=%d", seed)
	return By(seed)
}

// By returns the source of chance of this seed, which is always the same.
func By(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 1)) }
