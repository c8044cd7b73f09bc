// Package barrier names one instant of several groups on several hosts: a
// write that was begun after another one was acknowledged is in no member's
// point without the other in its own.
//
// It takes two rounds. In the first every writer holds its clients' writes back
// and places its bookmark; when all have said so there is an instant at which
// no write was acknowledged anywhere. In the second every writer lets go on, and says
// whether it had held until then. If one of them had not, or does not answer,
// the set is void. Nothing waits for the coordinator: a hold ends by itself.
package barrier

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

const (
	// DefaultHold is how long writes are held back at most, if nothing else is asked for.
	DefaultHold = 2 * time.Second
	// abortTimeout bounds the effort to let members go on before their limits.
	abortTimeout = 5 * time.Second
	// thawTime is what a release may take beyond the hold: it thaws, too.
	thawTime = time.Minute
)

// Peer is the writer of one group. A step that fails leaves nothing held or
// frozen for longer than its limits.
type Peer interface {
	Group() redoubt.GroupID
	Freeze(ctx context.Context) error
	// Hold holds writes back for limit at most, and places the bookmark.
	Hold(ctx context.Context, limit time.Duration) (redoubt.Position, error)
	// Release lets writes go on. It fails if they may have before.
	Release(ctx context.Context) (Released, error)
	// Abort lets everything go on; it does nothing to who takes no part.
	Abort(ctx context.Context) error
}

// Released is what one group had to bear.
type Released struct {
	Position  redoubt.Position
	Held      time.Duration
	Frozen    time.Duration // 0 without hooks
	NotThawed string        // empty: everything goes on
}

// Options says what is wanted.
type Options struct {
	App  bool          // run the freeze hooks of every group first
	Hold time.Duration // limit; 0: DefaultHold
}

// Result is an instant that exists.
type Result struct {
	Members []Released    // in the order of the peers
	Barrier time.Duration // from before the first hold to after the last release
}

// Run makes the barrier. On an error no member's bookmark may be shown.
func Run(ctx context.Context, peers []Peer, o Options) (r Result, err error) {
	o.Hold = cmp.Or(o.Hold, DefaultHold)
	defer func() {
		if err != nil {
			abort(ctx, peers)
		}
	}()
	// Nobody is held for the sake of a handshake, or of one who does not answer.
	if err := each(peers, func(_ int, p Peer) error { return p.Abort(ctx) }); err != nil {
		return r, err
	}
	if o.App {
		if err := each(peers, func(_ int, p Peer) error { return p.Freeze(ctx) }); err != nil {
			return r, err
		}
	}
	begin := time.Now()
	hctx, cancel := context.WithTimeout(ctx, o.Hold)
	defer cancel()
	at := make([]redoubt.Position, len(peers))
	err = each(peers, func(i int, p Peer) (err error) {
		at[i], err = p.Hold(hctx, o.Hold)
		return err
	})
	if err != nil {
		return r, err
	}
	// Here all of them are held, unless a release says otherwise.
	rctx, cancel := context.WithTimeout(ctx, o.Hold+thawTime)
	defer cancel()
	r.Members = make([]Released, len(peers))
	err = each(peers, func(i int, p Peer) (err error) {
		r.Members[i], err = p.Release(rctx)
		if err == nil && r.Members[i].Position != at[i] {
			err = redoubt.ErrGap
		}
		if err == nil && o.App && r.Members[i].Frozen <= 0 {
			err = notAtRest(p)
		}
		return err
	})
	r.Barrier = time.Since(begin)
	return r, err
}

// notAtRest is for a writer whose daemon has started again after the freeze: the
// start has thawed everything, and what was held then was in use.
func notAtRest(p Peer) error {
	return &redoubt.Error{Op: "release", Object: string(p.Group()), Err: fmt.Errorf("its applications were not at rest: %w", redoubt.ErrState),
		Hint: "its daemon has started again meanwhile; try again"}
}

// each runs fn for all peers at once.
func each(peers []Peer, fn func(i int, p Peer) error) error {
	errs := make([]error, len(peers))
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() {
			if err := fn(i, p); err != nil {
				errs[i] = &redoubt.Error{Op: "hold group", Object: string(p.Group()), Err: err, Hint: redoubt.Hint(err)}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// abort lets everybody go on. Who does not hear it does so by itself.
func abort(ctx context.Context, peers []Peer) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = each(peers, func(_ int, p Peer) error { return p.Abort(ctx) })
}
