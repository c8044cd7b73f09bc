package demo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// load is the users of the disks: one changes files of the mounted file
// system, one changes raw blocks. Both go through the relay.
type load struct {
	stop func()
	wg   sync.WaitGroup
	mu   sync.Mutex
	err  error

	broken chan struct{} // closed at the first failure
	files  fileCount
}

// fileCount says what was done with files.
type fileCount struct{ created, appended, renamed, deleted, synced int }

// String lists the counts.
func (c fileCount) String() string {
	return fmt.Sprintf("%d created, %d appended to, %d renamed, %d deleted, %d synced", c.created, c.appended, c.renamed, c.deleted, c.synced)
}

// startLoad begins to write: files under fsDir, a mounted file system (or
// empty: no files are changed), and raw blocks of the given disks. It goes on
// until end, or until a write fails.
func startLoad(fsDir string, relay *oracle.Relay, disks []redoubt.Disk, seed uint64) (*load, error) {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{stop: cancel, broken: make(chan struct{})}
	if fsDir != "" {
		l.goDo(func() error { return l.writeFiles(ctx, filepath.Join(fsDir, "demo"), rand.New(rand.NewPCG(seed, 2))) })
	}
	clients := map[redoubt.DiskID]*oracle.Client{}
	for _, d := range disks {
		c, err := oracle.Dial(ctx, relay.Socket(d.Name), d.Name)
		if err != nil {
			l.end()
			return nil, err
		}
		clients[d.ID] = c
	}
	mix := oracle.DefaultMix()
	mix.MaxLen = 64 << 10
	w := oracle.NewWorkload(seed, disks, mix)
	l.goDo(func() error {
		defer func() {
			for _, c := range clients {
				c.Close()
			}
		}()
		pace := time.NewTicker(3 * time.Millisecond)
		defer pace.Stop()
		for ctx.Err() == nil {
			op := w.Next()
			if err := op.Do(clients[op.Disk.ID]); err != nil {
				return fmt.Errorf("raw %s of %s: %w", op.Kind, op.Extent, err)
			}
			<-pace.C
		}
		return nil
	})
	return l, nil
}

func (l *load) goDo(fn func() error) {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		if err := fn(); err != nil {
			l.mu.Lock()
			if l.err == nil {
				close(l.broken)
			}
			l.err = errors.Join(l.err, err)
			l.mu.Unlock()
		}
	}()
}

// end stops writing and returns what went wrong meanwhile.
func (l *load) end() error {
	l.stop()
	l.wg.Wait()
	return l.err
}

// endBroken waits until a user notices that the disks are gone, then ends all.
func (l *load) endBroken(patience time.Duration) error {
	select {
	case <-l.broken:
		l.end()
		return nil
	case <-time.After(patience):
		l.end()
		return errors.New("the users noticed nothing: the load did not reach the disks")
	}
}

// failed returns what went wrong so far.
func (l *load) failed() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// writeFiles works like a spool: files are created, appended to, renamed,
// deleted and fsynced.
func (l *load) writeFiles(ctx context.Context, dir string, rng *rand.Rand) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	var names []string
	filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, p)
		}
		return nil
	})
	pace := time.NewTicker(15 * time.Millisecond)
	defer pace.Stop()
	for n := 0; ctx.Err() == nil; n++ {
		if err := l.changeFile(dir, &names, n, rng); err != nil {
			return err
		}
		<-pace.C
	}
	return nil
}

func (l *load) changeFile(dir string, names *[]string, n int, rng *rand.Rand) error {
	pick := func() (int, string) { i := rng.IntN(len(*names)); return i, (*names)[i] }
	switch k := rng.IntN(10); {
	case k < 4 || len(*names) < 5:
		p := filepath.Join(dir, fmt.Sprintf("new-%d-%d", time.Now().UnixNano(), n))
		*names = append(*names, p)
		l.did(func(c *fileCount) { c.created++ })
		return l.writeFile(p, os.O_CREATE|os.O_EXCL, rng)
	case k < 7:
		_, p := pick()
		l.did(func(c *fileCount) { c.appended++ })
		return l.writeFile(p, os.O_APPEND, rng)
	case k < 8:
		i, p := pick()
		to := p + ".r"
		if len(filepath.Base(to)) > 200 {
			return nil
		}
		(*names)[i] = to
		l.did(func(c *fileCount) { c.renamed++ })
		return os.Rename(p, to)
	default:
		i, p := pick()
		*names = append((*names)[:i], (*names)[i+1:]...)
		l.did(func(c *fileCount) { c.deleted++ })
		return os.Remove(p)
	}
}

func (l *load) writeFile(path string, flag int, rng *rand.Rand) error {
	f, err := os.OpenFile(path, os.O_WRONLY|flag, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, 1+rng.IntN(48<<10))
	for i := range b {
		b[i] = byte(rng.Uint32()) // real files are neither all random nor all alike
		if i%2 == 0 {
			b[i] = 'r'
		}
	}
	if _, err := f.Write(b); err != nil {
		return err
	}
	if rng.IntN(3) == 0 {
		l.did(func(c *fileCount) { c.synced++ })
		if err := f.Sync(); err != nil {
			return err
		}
	}
	return f.Close()
}

// count returns what was done with files so far.
func (l *load) count() fileCount {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.files
}

func (l *load) did(add func(*fileCount)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	add(&l.files)
}
