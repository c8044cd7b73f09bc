package freeze

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// Freezer freezes the applications of one group, one time after the other.
type Freezer struct {
	o    Options
	busy chan struct{} // holds one token while something is frozen

	mu     sync.Mutex
	closed bool
	now    *Frozen // what is frozen at present
}

// Open thaws what an earlier life has left frozen.
func Open(o Options) (*Freezer, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	f := &Freezer{o: o, busy: make(chan struct{}, 1)}
	if o.Note == "" {
		return f, nil
	}
	n, err := loadNote(o.Note)
	if err != nil || n == nil {
		return f, err
	}
	o.Logger.Warn("an earlier run of the daemon ended while this was frozen; it is thawed now", "bookmark", n.Name, "mounts", n.Mounts, "scripts", n.Scripts)
	z := &Frozen{f: f, name: n.Name, began: time.Now(), mounts: n.Mounts}
	for _, name := range n.Scripts {
		if s, err := o.Scripts.Find(name); err == nil {
			z.scripts = append(z.scripts, s)
		} else {
			z.missed = errors.Join(z.missed, &redoubt.Error{Op: "thaw with script", Object: name, Err: err,
				Hint: "put it back and restart redoubtd; or let its application go on by hand, and remove " + o.Note})
		}
	}
	return f, z.thaw("the daemon has started again").Err
}

// Empty reports whether there is nothing to freeze.
func (f *Freezer) Empty() bool { return f.o.Empty() }

// Freeze brings everything to rest. name is told to the scripts. If it returns
// an error everything is thawed again; the report says how the steps went. One
// Freeze at a time: a second one waits for the first's Thaw, or for ctx.
func (f *Freezer) Freeze(ctx context.Context, name string) (*Frozen, Report, error) {
	select {
	case f.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, Report{}, &redoubt.Error{Op: "freeze for bookmark", Object: name, Err: fmt.Errorf("something else is frozen: %w", redoubt.ErrUnavailable), Hint: "try again in a moment"}
	}
	z, err := f.begin(name)
	if err != nil {
		<-f.busy
		return nil, Report{}, err
	}
	if err := z.freeze(ctx); err != nil {
		r := z.Thaw()
		return nil, r, err
	}
	return z, z.report(), nil
}

// begin checks what can be checked, writes the note and starts the watchdog.
func (f *Freezer) begin(name string) (*Frozen, error) {
	fail := func(err error) (*Frozen, error) { return nil, err }
	if f.o.Empty() {
		return fail(&redoubt.Error{Op: "freeze group", Object: f.o.Group, Err: fmt.Errorf("it has no freeze hooks: %w", redoubt.ErrState), Hint: "source.groups[].hooks in the configuration of its host"})
	}
	var scripts []hook.Script
	if f.o.Scripts != "" {
		var err error
		if scripts, err = f.o.Scripts.All(); err != nil {
			return fail(err)
		}
		if len(scripts) == 0 && len(f.o.Mounts) == 0 {
			return fail(&redoubt.Error{Op: "freeze group", Object: f.o.Group, Err: redoubt.ErrState, Hint: "there is no script in " + string(f.o.Scripts)})
		}
	}
	for _, m := range f.o.Mounts {
		if err := checkMount(m, append([]string{f.o.Note}, f.o.Own...)); err != nil {
			return fail(err)
		}
	}
	n := note{Version: 1, Group: f.o.Group, Name: name, Mounts: f.o.Mounts}
	for _, s := range scripts {
		n.Scripts = append(n.Scripts, s.Name)
	}
	z := &Frozen{f: f, name: name, todo: scripts}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fail(&redoubt.Error{Op: "freeze group", Object: f.o.Group, Err: redoubt.ErrClosed})
	}
	if err := n.save(f.o.Note); err != nil {
		return fail(err)
	}
	z.began = time.Now()
	f.now = z
	z.watchdog = time.AfterFunc(f.o.Hold, func() { z.thaw("it took longer than " + f.o.Hold.String()) })
	return z, nil
}

// Frozen returns since when something has been frozen, and whether there is.
func (f *Freezer) Frozen() (time.Time, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == nil {
		return time.Time{}, false
	}
	return f.now.began, true
}

// Close thaws what is frozen and refuses to freeze again.
func (f *Freezer) Close() error {
	f.mu.Lock()
	f.closed = true
	z := f.now
	f.mu.Unlock()
	if z == nil {
		return nil
	}
	return z.thaw("the daemon ends").Err
}

// ended is called once everything that can be thawed is. The note stays if
// something could not be: the next start tries again.
func (f *Freezer) ended(z *Frozen, err error) error {
	if err == nil {
		err = removeNote(f.o.Note)
	} else {
		err = errors.Join(err, errNoteStays)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.now == z {
		f.now = nil
		<-f.busy
	}
	return err
}

var errNoteStays = errors.New("the next start of redoubtd tries again")
