package shards

import (
	"fmt"
	"sync"

	"github.com/klauspost/reedsolomon"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/slab"
)

// Coders keeps a Reed-Solomon coder per (k, m). Methods may be called concurrently.
type Coders struct {
	mu sync.Mutex
	m  map[[2]int]reedsolomon.Encoder
}

// NewCoders returns Coders that know no code yet.
func NewCoders() *Coders { return &Coders{m: map[[2]int]reedsolomon.Encoder{}} }

func (c *Coders) get(k, m int) (reedsolomon.Encoder, error) {
	if k < 1 || m < 0 || k+m > catalog.MaxShards {
		return nil, &redoubt.Error{Op: "erasure code", Err: fmt.Errorf("%d+%d shards: %w", k, m, redoubt.ErrInvalid)}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e, ok := c.m[[2]int{k, m}]; ok {
		return e, nil
	}
	// One goroutine: a core codes 10 GB/s, which is never the bottleneck.
	e, err := reedsolomon.New(k, m, reedsolomon.WithMaxGoroutines(1))
	if err != nil {
		return nil, err
	}
	c.m[[2]int{k, m}] = e
	return e, nil
}

// Split cuts an encoded delta into k data shards, which are plain ranges of it,
// and computes m parity shards. Only the last data shards are copies, padded
// with zeros. own is the memory of those that are not ranges of enc, for slab.Put
// when nobody reads the shards any more. ErrInvalid: there is no such code.
func (c *Coders) Split(enc []byte, k, m int) (shards, own [][]byte, err error) {
	e, err := c.get(k, m)
	if err != nil {
		return nil, nil, err
	}
	size := Size(len(enc), k)
	shards = make([][]byte, k+m)
	take := func(i int) {
		shards[i] = slab.Get(size)
		own = append(own, shards[i])
	}
	for i := range k {
		from, to := min(i*size, len(enc)), min((i+1)*size, len(enc))
		if to-from == size {
			shards[i] = enc[from:to:to]
		} else {
			take(i)
			clear(shards[i][copy(shards[i], enc[from:to]):])
		}
	}
	for i := k; i < k+m; i++ {
		take(i)
	}
	if m > 0 {
		err = e.Encode(shards)
	}
	return shards, own, err
}

// Size is how many bytes each of k data shards of n bytes has; the last ones are padded.
func Size(n, k int) int { return (n + k - 1) / k }

// Reconstruct fills in the wanted shard; shards that are not there are nil. The
// ones that are there must have been verified: the code accepts anything.
func (c *Coders) Reconstruct(shards [][]byte, k, m, want int) error {
	e, err := c.get(k, m)
	if err != nil {
		return err
	}
	if shards[want] != nil {
		return nil
	}
	required := make([]bool, k+m)
	required[want] = true
	return e.ReconstructSome(shards, required)
}
