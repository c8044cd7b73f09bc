package fsload

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Load changes a mounted file system. Its methods are for one goroutine, but for
// Acknowledged, which may be called at any time.
type Load struct {
	// Ghosts lets a removed or renamed name come back with a file that it stood
	// for, although the folder was fsynced after: Btrfs does that on any disk
	// (kernel 6.18, seen in 3 of 3 runs of up to 22 kills of nbdkit's file plugin).
	// Such a name is removed and counted in Seen.
	Ghosts bool
	Seen   int

	root    string
	workers []*worker
	churns  []*churn
	acks    atomic.Int64
	doomed  atomic.Bool
}

// New returns a load for the file system that is mounted at root, which is
// empty. What it does follows from seed, but for how the workers interleave. It
// takes at most some 64 MiB of the file system.
func New(root string, seed uint64) *Load {
	l := &Load{root: root}
	for i := range 3 {
		l.workers = append(l.workers, &worker{load: l, dir: filepath.Join(root, fmt.Sprint("w", i)),
			rng: rand.New(rand.NewPCG(seed, uint64(i))), nextID: uint64(i+1) << 32})
	}
	for i := range 2 {
		l.churns = append(l.churns, &churn{dir: filepath.Join(root, fmt.Sprint("churn", i)), rng: rand.New(rand.NewPCG(seed, uint64(100+i)))})
	}
	return l
}

// Acknowledged returns how many syncs of files, folders and the file system
// have succeeded.
func (l *Load) Acknowledged() int64 { return l.acks.Load() }

// Doom is called just before the disk is taken away: syncs that succeed from
// now on are not believed, because a file system that has lost its disk may
// lie. (One run on XFS suggests that it answers the fsync of a folder with success then.)
func (l *Load) Doom() { l.doomed.Store(true) }

// count counts a sync that succeeded and tells whether to believe it.
func (l *Load) count() bool {
	if l.doomed.Load() {
		return false
	}
	l.acks.Add(1)
	return true
}

// Run changes the file system until ctx ends, or until an operation of a worker
// fails. It returns that failure.
func (l *Load) Run(ctx context.Context) error {
	l.doomed.Store(false)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	errs := make([]error, len(l.workers))
	var all sync.WaitGroup
	for i, w := range l.workers {
		all.Go(func() { defer cancel(); errs[i] = w.run(ctx) })
	}
	for _, c := range l.churns {
		all.Go(func() { c.run(ctx) })
	}
	all.Wait()
	return errors.Join(errs...)
}

// syncFS makes everything of the file system of path durable.
func syncFS(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Syncfs(int(f.Fd()))
}
