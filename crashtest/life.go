package crashtest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// fate is what ends a life.
type fate int

const (
	fateCut   fate = iota // a power cut at some operation, perhaps of the recovery
	fateKill              // kill -9
	fateFault             // an operation fails, then a cut or kill
	fateLie               // a sync lies, later ones do not, then a cut
	fateRot               // a durable byte of the journal changes
)

// String names the fate.
func (f fate) String() string {
	return [...]string{"power cut", "kill", "failing operation", "lying sync", "changed byte"}[f]
}

// errNoticed ends a world whose disk betrayed it and was caught.
var errNoticed = errors.New("noticed")

// errUnproven ends a world whose disk lied when the journal had no room left for
// writes that vouch for what is gone.
var errUnproven = errors.New("nothing was written after the lie")

// livesPerWorld bounds how long one world goes on.
const livesPerWorld = 6

// live runs one world and returns the first finding.
func live(seed uint64, mode Mode, t *Tally) error {
	w := newWorld(seed, mode, t)
	defer w.release()
	t.Rounds++
	if err := w.open(&power{}, time.Millisecond); err != nil { // its making is not judged
		return fmt.Errorf("make a journal: %w", err)
	}
	for range 1 + w.rng.IntN(livesPerWorld) {
		w.stop(w.rng.IntN(4) == 0)
		if err := w.life(w.draw()); errors.Is(err, errNoticed) || errors.Is(err, errUnproven) {
			return nil
		} else if err != nil {
			return w.tell(err)
		}
	}
	w.stop(false)
	if err := w.reopen(&power{}, time.Millisecond); errors.Is(err, errNoticed) {
		w.stop(false)
		return nil
	} else if err != nil {
		return w.tell(err)
	}
	return w.tell(w.end())
}

// tell adds to an error what the world went through.
func (w *world) tell(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w (after: %s)", err, strings.Join(w.story, "; "))
}

func (w *world) draw() fate {
	switch n := w.rng.IntN(20); {
	case n < 10:
		return fateCut
	case n < 12:
		return fateKill
	case n < 16:
		return fateFault
	case n < 18:
		return fateLie
	}
	return fateRot
}

// life opens what the last one left, judges it, and works until its fate.
func (w *world) life(f fate) error {
	apply := []time.Duration{100 * time.Microsecond, time.Millisecond, time.Hour}[w.rng.IntN(3)]
	p := &power{}
	at := 1 + w.rng.Int64N(150)
	switch f {
	case fateCut:
		p.cutAt = at
	case fateFault:
		p.failAt, p.stayDown = at, w.rng.IntN(3) == 0
		p.fault = []error{syscall.EIO, syscall.ENOSPC, errShort}[w.rng.IntN(3)]
		w.tally.Faults++
	case fateLie:
		p.lieAt = at
	case fateRot:
		apply = time.Hour
	}
	what := f.String()
	if f != fateRot && f != fateKill {
		what = fmt.Sprintf("%s due at operation %d", f, at)
	}
	if f == fateFault {
		what += fmt.Sprintf(" (%v, for good: %v)", p.fault, p.stayDown)
	}
	w.story = append(w.story, fmt.Sprintf("%s, applier every %s", what, apply))
	if err := w.reopen(p, apply); err != nil {
		if w.excused(err) {
			return nil
		}
		return err
	}
	var err error
	switch f {
	case fateFault:
		err = w.driveFault()
	case fateLie:
		err = w.driveLie()
	case fateRot:
		err = w.driveRot()
	default:
		err = w.drive(20+w.rng.IntN(200), never)
	}
	var breach *Finding
	switch {
	case err == nil || w.excused(err):
		return nil
	case errors.As(err, &breach) || errors.Is(err, errNoticed) || w.suspect:
		return err
	}
	return fmt.Errorf("unexpected error of a healthy disk: %w", err)
}

// excused reports whether the disk's own failure explains err.
func (w *world) excused(err error) bool {
	var breach *Finding
	if errors.As(err, &breach) || errors.Is(err, errNoticed) {
		return false
	}
	w.p.mu.Lock()
	defer w.p.mu.Unlock()
	return w.p.dead || w.p.failed
}

// reopen opens and judges. errNoticed: the disk had betrayed its journal, and
// the journal says so.
func (w *world) reopen(p *power, apply time.Duration) error {
	err := w.open(p, apply)
	if err == nil {
		err = w.verify()
	}
	switch {
	case err == nil:
		return nil
	case w.suspect && errors.Is(err, redoubt.ErrCorrupt):
		w.tally.Noticed++
		w.stop(false)
		return errNoticed
	case w.excused(err):
		w.tally.Recoveries++
	}
	return err
}

// driveFault works until something fails, and on: no write and no flush may
// succeed after the first failure (S6).
func (w *world) driveFault() error {
	err := w.drive(300, never)
	if err == nil {
		return nil
	}
	if !w.p.hasFailed() {
		return err
	}
	w.tally.Latched++
	before := len(w.ops)
	for range 8 {
		o := randomOp(w.rng, w.sizes)
		if w.write(o) == nil && len(w.ops) > before {
			return found(1, "a write was acknowledged after a failure (%v)", err)
		}
		w.ops = w.ops[:before]
		if w.flush() == nil {
			return found(1, "a flush was acknowledged after a failure (%v)", err)
		}
	}
	return nil
}

// driveLie works until a sync has lied, makes the journal durable honestly
// after it, and lets the next open notice.
func (w *world) driveLie() error {
	if err := w.drive(400, w.p.hasLied); err != nil || !w.p.hasLied() {
		return err
	}
	w.suspect = true
	w.tally.Lies++
	before := w.tally.Full
	if err := w.flushed(2); err != nil {
		return err
	}
	if w.tally.Full > before {
		return errUnproven
	}
	return nil
}
