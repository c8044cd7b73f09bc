package vfs

import (
	"errors"
	"math/rand/v2"
	"testing"
)

// A file that was made durable in a new folder is there after a power cut: so
// are the folders above it, whoever made them.
func TestMakeDir(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for n := range 100 {
		mem := NewMem()
		if err := errors.Join(mem.MkdirAll("data", 0o700), mem.SyncDir(".")); err != nil {
			t.Fatal(err)
		}
		if n%2 == 1 { // killed before it came to the sync
			if err := mem.MkdirAll("data/groups/shop", 0o700); err != nil {
				t.Fatal(err)
			}
			mem = mem.Kill()
		}
		if err := errors.Join(MakeDir(mem, "data/groups/shop", 2), WriteAtomic(mem, "data/groups/shop/group.json", []byte("it"))); err != nil {
			t.Fatal(err)
		}
		if got := readAll(t, mem.Crash(rng), "data/groups/shop/group.json"); got != "it" {
			t.Fatalf("the file holds %q", got)
		}
	}
}
