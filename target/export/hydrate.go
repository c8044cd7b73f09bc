package export

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

const (
	hydrateStep  = 4 << 20   // bytes that are read at a time
	hydrateZeros = 1 << 30   // bytes of zeros that are taken over at a time
	hydrateSync  = 128 << 20 // bytes after which progress is made durable
	hydrateRetry = 2 * time.Second
	// hydrateReserve is left free on the file system: clients' writes need it more.
	hydrateReserve = 1 << 30
)

// HydratePolicy says which instances are hydrated without being asked.
type HydratePolicy string

// The policies.
const (
	HydrateNone     HydratePolicy = ""
	HydrateFailover HydratePolicy = "failover" // what becomes production
	HydrateAll      HydratePolicy = "all"      // test failovers, too
)

// hydrationBase is one disk of a View, read from end to end.
type hydrationBase interface {
	NextData(from uint64) (e redoubt.Extent, ok bool, err error)
	ReadThrough(p []byte, off uint64) error
}

// Hydration says how much of an instance's disks lies at this node.
type Hydration struct {
	Done, Total uint64 // bytes of the disks, zeros and what was written here included
	Complete    bool   // reads need no other node
	Err         error  // why it does not go on at present; it is tried again
}

// hydrator copies what lies under an instance's overlays into them, until
// reads need the base no more. What is there already is known to the
// allocation logs, so a crash costs what was copied since the last sync.
type hydrator struct {
	overlays []*Overlay
	bases    []hydrationBase
	rate     int64 // bytes a second
	free     func(*Overlay) (uint64, error)
	log      *slog.Logger

	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error
	full bool
}

func newHydrator(overlays []*Overlay, bases []hydrationBase, rate int64, log *slog.Logger) *hydrator {
	h := &hydrator{overlays: overlays, bases: bases, rate: rate, free: freeSpace, log: log}
	h.ctx, h.end = context.WithCancel(context.Background())
	return h
}

func (h *hydrator) start() { h.wg.Go(h.run) }

func (h *hydrator) stop() {
	h.end()
	h.wg.Wait()
}

func (h *hydrator) status() Hydration {
	h.mu.Lock()
	s := Hydration{Err: h.err, Complete: h.full}
	h.mu.Unlock()
	for _, o := range h.overlays {
		s.Done, s.Total = s.Done+min(o.Bytes(), o.size), s.Total+o.size
	}
	return s
}

func (h *hydrator) run() {
	for i, o := range h.overlays {
		for h.ctx.Err() == nil {
			err := h.disk(o, h.bases[i])
			if err == nil {
				break
			}
			if h.ctx.Err() != nil {
				return
			}
			h.note(err)
			if sleep(h.ctx, hydrateRetry) != nil {
				return
			}
		}
	}
	if h.ctx.Err() == nil {
		h.mu.Lock()
		h.err, h.full = nil, true
		h.mu.Unlock()
		h.log.Info("the export is hydrated: reads need no other node")
	}
}

// note remembers why it does not go on, and says so once.
func (h *hydrator) note(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.err == nil {
		h.log.Warn("hydration waits", "err", err, "hint", redoubt.Hint(err))
	}
	h.err = err
}

// disk copies everything that one overlay has not yet.
func (h *hydrator) disk(o *Overlay, base hydrationBase) error {
	var unsynced uint64
	for at := uint64(0); h.ctx.Err() == nil; {
		gap, ok := o.missing(at, hydrateZeros)
		if !ok {
			break
		}
		n, err := h.step(o, base, gap)
		if err != nil {
			return err
		}
		h.mu.Lock()
		h.err = nil
		h.mu.Unlock()
		at = gap.Off + n
		if unsynced += n; unsynced >= hydrateSync {
			unsynced = 0
			if err := o.Sync(); err != nil {
				return err
			}
		}
	}
	return o.Sync()
}

// step takes over the beginning of gap, either zeros or data, and returns how much.
func (h *hydrator) step(o *Overlay, base hydrationBase, gap redoubt.Extent) (uint64, error) {
	data, ok, err := base.NextData(gap.Off)
	if err != nil {
		return 0, err
	}
	from := gap.End()
	if ok {
		from = min(data.Off&^(overlayBlock-1), gap.End())
	}
	if from > gap.Off {
		n := from - gap.Off
		return n, o.adopt(nil, gap.Off, n)
	}
	n := min(roundUp(data.End())-gap.Off, hydrateStep, gap.Len)
	if free, err := h.free(o); err != nil {
		return 0, err
	} else if free < hydrateReserve+n {
		return 0, &redoubt.Error{Op: "hydrate", Object: o.data.Name(), Err: fmt.Errorf("%d bytes free: %w", free, unix.ENOSPC),
			Hint: "free space on the node's file system; the export works meanwhile, and goes on with the other nodes"}
	}
	p := make([]byte, n)
	if err := base.ReadThrough(p, gap.Off); err != nil {
		return 0, err
	}
	if err := o.adopt(p, gap.Off, n); err != nil {
		return 0, err
	}
	return n, sleep(h.ctx, time.Duration(float64(n)/float64(h.rate)*float64(time.Second)))
}

func freeSpace(o *Overlay) (uint64, error) {
	var st unix.Statfs_t
	err := unix.Fstatfs(int(o.data.files[0].Fd()), &st)
	return st.Bavail * uint64(st.Bsize), err
}
