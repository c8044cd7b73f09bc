package crashtest

import (
	"errors"
	"sync"
)

// errPower is what every operation fails with once the power is cut.
var errPower = errors.New("the power is cut")

// power is the one line on which all operations of the simulated disks happen:
// a cut takes effect between two of them for all disks at once. It also makes
// the operation fail, or the sync lie, that a round has chosen. All methods may
// be called concurrently.
type power struct {
	mu   sync.Mutex
	n    int64  // operations so far
	cut  func() // takes the picture of the disks; called with mu held
	dead bool

	cutAt    int64 // the operation before which the power is cut; 0: never
	failAt   int64 // the operation that fails; 0: none
	fault    error // what it fails with
	stayDown bool  // all later ones fail, too
	failed   bool  // it has failed
	lieAt    int64 // the first sync of the journal's disk, from here on, that lies; 0: none
	lied     bool  // it has lied
}

// step is one operation that changes a disk.
type step struct {
	whole  func() error // does it
	half   func()       // does a part of it; nil if it is all or nothing
	forget func()       // of a sync: what is unsynced never reaches the disk
	mayLie bool         // the sync of a disk that can be noticed lying
}

// do runs one operation.
func (p *power) do(s step) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead {
		return errPower
	}
	p.n++
	switch {
	case p.n == p.cutAt:
		p.off()
		return errPower
	case p.n == p.failAt, p.failAt > 0 && p.n > p.failAt && p.stayDown:
		p.failed = true
		if s.half != nil {
			s.half()
		}
		if s.forget != nil { // Linux calls pages clean whose write-back failed
			s.forget()
		}
		return p.fault
	case p.lieAt > 0 && p.n >= p.lieAt && s.mayLie && !p.lied:
		p.lied = true
		s.forget()
		return nil
	}
	return s.whole()
}

// off cuts the power; the caller holds p.mu.
func (p *power) off() {
	p.cut()
	p.dead = true
}

// cutNow cuts the power unless that has happened.
func (p *power) cutNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.dead {
		p.off()
	}
}

// count returns the number of operations so far.
func (p *power) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.n
}

// hasLied reports whether the lie was told.
func (p *power) hasLied() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lied
}

// hasFailed reports whether the fault was met.
func (p *power) hasFailed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.failed
}
