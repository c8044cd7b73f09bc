// Package cache keeps recently used values in memory up to a bound in bytes:
// headers of the shard log, blocks of the index, inflated blocks of a View.
package cache

import (
	"container/list"
	"context"
	"errors"
	"sync"
)

// Cache is a least-recently-used cache bounded by the sum of its values'
// sizes. All methods may be called concurrently. Values are shared between the
// callers and must not be changed by them.
type Cache[K comparable, V any] struct {
	mu      sync.Mutex
	max     int64
	used    int64
	order   *list.List // front: most recently used
	items   map[K]*list.Element
	flights map[K]*flight[V]
	hits    uint64
	misses  uint64
}

type item[K comparable, V any] struct {
	key  K
	val  V
	size int64
}

type flight[V any] struct {
	done  chan struct{}
	ahead bool // nobody asked yet: its error is nobody's
	val   V
	err   error
}

// New returns a cache that holds at most maxBytes; a value larger than that
// is not kept.
func New[K comparable, V any](maxBytes int64) *Cache[K, V] {
	return &Cache[K, V]{max: maxBytes, order: list.New(), items: map[K]*list.Element{}, flights: map[K]*flight[V]{}}
}

// Get returns the value of key, if it is there.
func (c *Cache[K, V]) Get(key K) (V, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.get(key)
}

func (c *Cache[K, V]) get(key K) (V, bool) {
	if e, ok := c.items[key]; ok {
		c.order.MoveToFront(e)
		c.hits++
		return e.Value.(*item[K, V]).val, true
	}
	c.misses++
	var none V
	return none, false
}

// Put keeps val, which takes size bytes, as the value of key.
func (c *Cache[K, V]) Put(key K, val V, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(key, val, size)
}

func (c *Cache[K, V]) put(key K, val V, size int64) {
	c.remove(key)
	if size > c.max {
		return
	}
	c.items[key] = c.order.PushFront(&item[K, V]{key, val, size})
	c.used += size
	for c.used > c.max {
		c.remove(c.order.Back().Value.(*item[K, V]).key)
	}
}

func (c *Cache[K, V]) remove(key K) {
	if e, ok := c.items[key]; ok {
		c.used -= e.Value.(*item[K, V]).size
		c.order.Remove(e)
		delete(c.items, key)
	}
}

// Remove forgets key.
func (c *Cache[K, V]) Remove(key K) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(key)
}

// Load returns the value of key, calling load for it if it is not there.
// Callers that ask for the same key at the same time share one call. Errors
// are not kept, and that of a caller that gave up is its own: the others load again.
func (c *Cache[K, V]) Load(key K, load func() (V, int64, error)) (V, error) {
	c.mu.Lock()
	for {
		if v, ok := c.get(key); ok {
			c.mu.Unlock()
			return v, nil
		}
		f, ok := c.flights[key]
		if !ok {
			break
		}
		c.mu.Unlock()
		<-f.done
		if f.err == nil || !f.ahead && !gaveUp(f.err) {
			return f.val, f.err
		}
		c.mu.Lock()
	}
	f := &flight[V]{done: make(chan struct{})}
	c.flights[key] = f
	c.mu.Unlock()

	var size int64
	f.val, size, f.err = load()
	c.land(key, f, size)
	return f.val, f.err
}

// gaveUp reports whether a load ended because its caller's context did.
func gaveUp(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// Ahead announces that the caller brings key's value before anyone asks for
// it, and returns the function to hand it over with, once. It returns nil if the
// value is there or on its way. A Load meanwhile waits; after an error it loads
// by itself.
func (c *Cache[K, V]) Ahead(key K) (land func(val V, size int64, err error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, there := c.items[key]; there || c.flights[key] != nil {
		return nil
	}
	f := &flight[V]{done: make(chan struct{}), ahead: true}
	c.flights[key] = f
	return func(val V, size int64, err error) {
		f.val, f.err = val, err
		c.land(key, f, size)
	}
}

func (c *Cache[K, V]) land(key K, f *flight[V], size int64) {
	c.mu.Lock()
	delete(c.flights, key)
	if f.err == nil {
		c.put(key, f.val, size)
	}
	c.mu.Unlock()
	close(f.done)
}

// Stats is what a cache holds and how often it had the answer.
type Stats struct {
	Bytes, Max   int64
	Items        int
	Hits, Misses uint64
}

// Stats returns the present figures.
func (c *Cache[K, V]) Stats() Stats {
	c.mu.Lock()
	defer c.mu.Unlock()
	return Stats{Bytes: c.used, Max: c.max, Items: len(c.items), Hits: c.hits, Misses: c.misses}
}
