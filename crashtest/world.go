package crashtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

// journalDir is where the journal lies in the simulated file system.
const journalDir = "/journal"

// world is two simulated disks with their journal, through several lives. What
// was written is known from outside: ops[i] has LSN i+1.
type world struct {
	rng    *rand.Rand
	dice   *rand.Rand // of cuts; used under power.mu only
	mode   Mode
	tally  *Tally
	sizes  []uint64
	fs     *vfs.Mem
	disks  []*memDisk
	p      *power
	next   picture // what the next life finds
	j      *journal.Journal
	g      *blockdev.Group
	ops    []op
	born   redoubt.LSN // head at the beginning of this life
	acked  redoubt.LSN // every op up to here was acknowledged
	synced redoubt.LSN // every op up to here was flushed, or found by an open
	floor  redoubt.LSN // what the next open must find
	// suspect: the journal's disk lied or is damaged, so that an open may, and
	// has to, say that it is corrupt.
	suspect bool
	story   []string // what the lives were like, for the report
}

// picture is what a stop leaves of the disks.
type picture struct {
	fs    *vfs.Mem
	disks []*memDisk
}

func newWorld(seed uint64, mode Mode, t *Tally) *world {
	w := &world{rng: rand.New(rand.NewPCG(seed, 1)), dice: rand.New(rand.NewPCG(seed, 2)), mode: mode, tally: t,
		sizes: []uint64{128 << 10, 64 << 10}, fs: vfs.NewMem()}
	for _, b := range blank(w.sizes) {
		w.disks = append(w.disks, newMemDisk(b))
	}
	return w
}

// open opens journal and group on what is there; p decides what goes wrong.
func (w *world) open(p *power, apply time.Duration) error {
	w.p, w.j, w.g = p, nil, nil
	p.cut = func() {
		w.next = picture{fs: w.fs.Crash(w.dice)}
		for _, d := range w.disks {
			w.next.disks = append(w.next.disks, d.afterCut(w.dice))
		}
	}
	for _, d := range w.disks {
		d.p = p
	}
	var err error
	w.j, err = journal.Open(journalDir, journal.Options{FS: w.mode.breaks(&seamFS{mem: w.fs, p: p}), SegmentSize: 1 << 20, MaxBytes: 4 << 20,
		Start: redoubt.Position{Epoch: 1}, Create: true})
	if err != nil {
		return err
	}
	w.g, err = openGroup(w.j, w.disks, blockdev.GroupOptions{ApplyInterval: apply, SyncInterval: 3 * apply})
	return err
}

func openGroup(j *journal.Journal, disks []*memDisk, o blockdev.GroupOptions) (*blockdev.Group, error) {
	var ms []blockdev.Member
	for i, d := range disks {
		ms = append(ms, blockdev.Member{Backing: d, Disk: diskInfo(i, d.Size())})
	}
	return blockdev.OpenGroup(j, ms, o)
}

// diskInfo names disk i.
func diskInfo(i int, size uint64) redoubt.Disk {
	return redoubt.Disk{ID: redoubt.DiskID(i + 1), Name: fmt.Sprintf("d%d", i+1), Size: size}
}

// stop ends the life: by a power cut, unless that has come already, or by a
// kill. It lets go of journal and group; what they still try is in vain.
func (w *world) stop(kill bool) {
	w.p.mu.Lock()
	if w.p.dead {
		kill = false
	}
	if kill {
		w.next = picture{fs: w.fs.Kill()}
		for _, d := range w.disks {
			w.next.disks = append(w.next.disks, d.afterKill())
		}
		w.p.dead = true
	} else if !w.p.dead {
		w.p.off()
	}
	w.p.mu.Unlock()
	w.letGo()
	w.fs, w.disks = w.next.fs, w.next.disks
	w.tally.Acknowledged += int64(w.acked - w.born)
	w.tally.Flushed += int64(max(w.synced, w.born) - w.born)
	if kill {
		w.tally.Kills++
		w.floor = w.acked
		w.story = append(w.story, fmt.Sprintf("killed at write %d", w.acked))
	} else {
		w.tally.Cuts++
		w.floor = w.synced
		w.acked = w.synced // the others may be gone, or there
		w.story = append(w.story, fmt.Sprintf("cut at operation %d, write %d, flushed %d", w.p.count(), len(w.ops), w.synced))
	}
	w.born = w.acked
}

// release ends what a world that was given up has left running.
func (w *world) release() {
	if w.p != nil {
		w.p.cutNow()
	}
	w.letGo()
}

// letGo closes group and journal of a dead disk: both fail, as they must, and
// end their goroutines.
func (w *world) letGo() {
	if w.g != nil {
		_ = w.g.Close()
	}
	if w.j != nil {
		_ = w.j.Close()
	}
	w.g, w.j = nil, nil
}

// write issues one op. An error means that the op may be there or not.
func (w *world) write(o op) error {
	w.ops = append(w.ops, o)
	err := o.issue(w.g.Volumes()[o.disk])
	if errors.Is(err, redoubt.ErrJournalFull) { // nothing was appended
		w.ops = w.ops[:len(w.ops)-1]
		w.tally.Full++
		return nil
	}
	if err != nil {
		return err
	}
	w.acked = redoubt.LSN(len(w.ops))
	if o.fua {
		w.synced = w.acked
	}
	return nil
}

func (w *world) flush() error {
	err := w.g.Volumes()[w.rng.IntN(len(w.disks))].Flush(context.Background())
	if err == nil {
		w.synced = w.acked
	}
	return err
}

// drive issues n random ops, with flushes in between, up to the first error or
// until enough returns true.
func (w *world) drive(n int, enough func() bool) error {
	for i := 0; i < n && !enough(); i++ {
		if err := w.write(randomOp(w.rng, w.sizes)); err != nil {
			return err
		}
		if w.rng.IntN(12) == 0 {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

func never() bool { return false }

// flushed writes and flushes n times, so that the journal has later heads
// that vouch for what was durable before.
func (w *world) flushed(n int) error {
	for range n {
		if err := errors.Join(w.write(randomOp(w.rng, w.sizes)), w.flush()); err != nil {
			return err
		}
	}
	return nil
}
