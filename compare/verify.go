package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// Writes tells what is written to the disks here.
type Writes interface {
	// Hold keeps what was written after lsn findable, in place of what an earlier
	// call kept. ErrGap: it is not any more.
	Hold(lsn redoubt.LSN) error
	// Since calls fn for everything that was written after lsn, up to now, and
	// returns the LSN up to which it has looked. A write that a read before the
	// call has seen is among it.
	Since(lsn redoubt.LSN, fn func(redoubt.DiskID, redoubt.Extent)) (redoubt.LSN, error)
	// Newest returns the newest position here. The writes of its epoch are told.
	Newest() redoubt.Position
}

// Options of a Verification.
type Options struct {
	Group redoubt.GroupID
	UUID  string
	// Names returns the disks here. That one has joined or left may be known here
	// a moment before the other side has a position that shows it, or after: Settle
	// is how long a position with these disks is waited for.
	Names  func() []redoubt.Disk
	Settle time.Duration
	Disks  Disks
	// Writes may be asked by one goroutine.
	Writes Writes
	Rate   int64 // bytes a second that are read here at most; 0: no limit
	Now    func() time.Time
	// Progress, if set, is told how many of all blocks were looked at.
	Progress func(done, all uint64)
}

const (
	// attempts is how often the blocks of a window that are written to just then
	// are looked at, one after the other.
	attempts = 3
	// laterPasses is how often what was moving then is looked at in the end.
	laterPasses = 5
	// beginTries is how often the first position is chosen anew when the journal
	// has trimmed what follows it.
	beginTries = 10
	// renewEvery bounds how much the comparison keeps in the journal.
	renewEvery = 5 * time.Second
	// settlePause is how often that is looked for.
	settlePause = 200 * time.Millisecond
	// maxLater bounds the chunks that are looked at again: 16 MiB of memory.
	maxLater = 256 << 10
)

// slots of the connection: the position of the root hash, and a fresh one.
const (
	slotBase  = 0
	slotFresh = 1
)

// verification compares disks that are written to with what the server has.
//
// Blocks are compared with the position at which the comparison began. A chunk
// that differs there, or in which something was written since, is compared with
// the newest position that the server has, block by block and without the
// blocks that were written after that position: those are looked at again. What
// was read here holds nothing but the writes that Writes tells of afterwards, so
// a block that none of them touched is as it was at the position.
type verification struct {
	o     Options
	c     *Client
	l     *local
	base  Opened
	rec   Record
	roots *Roots

	seen  redoubt.LSN                        // writes up to it are in dirty
	dirty map[redoubt.DiskID]*stirred        // chunks written to since base
	later map[redoubt.DiskID]map[uint64]Mask // blocks to be looked at again
	kept  int                                // chunks in later
	done  uint64

	renewed time.Time // when slotFresh was opened last
}

// Verify compares the disks here with what the server has, while they are
// written to, and reports the result to the server. Differences are no error.
func Verify(ctx context.Context, c *Client, o Options) (Record, error) {
	v := &verification{o: o, c: c, l: newLocal(o.Disks, o.Rate), roots: NewRoots(), dirty: map[redoubt.DiskID]*stirred{}, later: map[redoubt.DiskID]map[uint64]Mask{}}
	v.rec.Started, v.rec.Compared, v.rec.Passes = o.Now().UnixNano(), true, 1
	if err := v.begin(ctx); err != nil {
		return v.rec, err
	}
	for _, d := range v.base.Disks {
		if err := v.disk(ctx, d); err != nil {
			return v.rec, err
		}
	}
	if err := v.again(ctx); err != nil {
		return v.rec, err
	}
	v.rec.Root, v.rec.Finished = v.roots.Sum(), o.Now().UnixNano()
	v.rec.HashBytes, v.rec.ReadBytes = c.HashBytes(), v.l.read
	return v.rec, c.Report(v.rec)
}

// begin opens the position from which on everything is looked at: one with the
// disks that there are here.
func (v *verification) begin(ctx context.Context) error {
	for waited := time.Duration(0); ; waited += settlePause {
		if err := v.first(); err != nil {
			return err
		}
		err := sameDisks(v.base.Disks, v.o.Names())
		if err == nil {
			break
		}
		if waited >= v.o.Settle {
			return err
		}
		select {
		case <-time.After(settlePause):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	v.rec.At, v.seen, v.renewed = v.base.At, v.base.At.LSN, v.o.Now()
	for _, d := range v.base.Disks {
		v.rec.Blocks += blocks(d.Size)
		v.dirty[d.ID], v.later[d.ID] = newStirred(d.Size), map[uint64]Mask{}
	}
	return nil
}

// first opens the newest position of which the journal here has what follows.
func (v *verification) first() (err error) {
	for range beginTries {
		if v.base, err = v.open(slotBase); err != nil {
			return err
		}
		// What was shipped in the meantime may be gone from the journal.
		if err = v.o.Writes.Hold(v.base.At.LSN); !errors.Is(err, redoubt.ErrGap) {
			break
		}
	}
	return err
}

// renew opens the newest position in slotFresh and lets the writes before it go.
func (v *verification) renew() (redoubt.LSN, error) {
	o, err := v.open(slotFresh)
	if err == nil {
		err = sameEnds(v.base.Disks, o.Disks)
	}
	if err == nil {
		err = v.catchUp() // up to the head, which is not before the position
	}
	if err == nil {
		err = v.o.Writes.Hold(o.At.LSN)
	}
	v.renewed = v.o.Now()
	return o.At.LSN, err
}

// open opens the newest position that both sides know.
func (v *verification) open(slot int) (Opened, error) {
	here := v.o.Writes.Newest()
	o, err := v.c.Open(Ask{Group: v.o.Group, UUID: v.o.UUID, Slot: slot, Most: here.LSN})
	if err == nil && o.At.Epoch != here.Epoch {
		err = &redoubt.Error{Op: "compare group", Object: string(v.o.Group), Err: fmt.Errorf("this side is in epoch %d, the newest point is %s: %w", here.Epoch, o.At, redoubt.ErrState),
			Hint: "wait until something was shipped in this epoch, then verify again"}
	}
	return o, err
}

func sameDisks(there, here []redoubt.Disk) error {
	bad := func(name string) error {
		return &redoubt.Error{Op: "compare disk", Object: name, Err: fmt.Errorf("the sides have different disks or sizes: %w", redoubt.ErrState),
			Hint: "if a disk was added or removed, or has grown: verify again when `redoubt status` says that everything is at the secondary"}
	}
	for _, lists := range [][2][]redoubt.Disk{{there, here}, {here, there}} {
		for _, d := range lists[0] {
			if !slices.Contains(lists[1], d) {
				return bad(d.Name)
			}
		}
	}
	return nil
}

// sameEnds refuses a disk that has grown within its last block: that block cannot
// be compared any more as it was. Where the size was a multiple of LeafSize what
// is new begins a block of its own, and is left out.
func sameEnds(began, now []redoubt.Disk) error {
	for _, d := range began {
		grown := func(k redoubt.Disk) bool { return k.ID == d.ID && k.Size != d.Size }
		if d.Size%LeafSize != 0 && slices.ContainsFunc(now, grown) {
			return &redoubt.Error{Op: "compare disk", Object: d.Name, Err: fmt.Errorf("it has grown meanwhile: %w", redoubt.ErrState), Hint: "verify again"}
		}
	}
	return nil
}

// blocks is the number of blocks of a disk.
func blocks(size uint64) uint64 { return (size + LeafSize - 1) / LeafSize }

// disk compares one disk, window by window. The server hashes the next window
// while this side reads one.
func (v *verification) disk(ctx context.Context, d redoubt.Disk) error {
	v.roots.Disk(d)
	all := chunks(d.Size)
	window := func(from uint64) int { return int(min(WindowChunks, all-from)) }
	if err := v.c.AskSums(slotBase, d.ID, 0, window(0)); err != nil {
		return err
	}
	for from := uint64(0); from < all; {
		n := window(from)
		next := from + uint64(n)
		trees, err := v.l.trees(ctx, d, from, next)
		if err != nil {
			return err
		}
		sums := make([]Sum, n)
		if err := v.c.TakeSums(sums); err != nil {
			return err
		}
		if v.o.Now().Sub(v.renewed) > renewEvery {
			_, err = v.renew()
		} else {
			err = v.catchUp()
		}
		if err != nil {
			return err
		}
		var todo []Suspect
		for i, s := range sums {
			c := from + uint64(i)
			v.roots.Chunk(c, s)
			if s != trees[i].Sum || v.dirty[d.ID].has(c) {
				todo = append(todo, Suspect{Chunk: c, Mask: whole(d.Size, c)})
			}
		}
		left, err := v.settle(ctx, d, todo, attempts)
		if err != nil {
			return err
		}
		v.keep(d, left)
		if next < all {
			if err := v.c.AskSums(slotBase, d.ID, next, window(next)); err != nil {
				return err
			}
		}
		from = next
		v.progress(uint64(n) * chunkLeafs)
	}
	return nil
}

// whole means all blocks of a chunk that the disk has.
func whole(size, c uint64) (m Mask) {
	m.first(int(min(chunkLeafs, blocks(size)-c*chunkLeafs)))
	return m
}

func (v *verification) progress(n uint64) {
	v.done = min(v.rec.Blocks, v.done+n)
	if v.o.Progress != nil {
		v.o.Progress(v.done, v.rec.Blocks)
	}
}

// catchUp notes which chunks were written to.
func (v *verification) catchUp() (err error) {
	v.seen, err = v.o.Writes.Since(v.seen, func(d redoubt.DiskID, e redoubt.Extent) {
		if s := v.dirty[d]; s != nil {
			s.add(e)
		}
	})
	return err
}

// settle compares the blocks of at most WindowChunks chunks with the newest
// position, several times if they are written to just then. It returns those
// that still are.
func (v *verification) settle(ctx context.Context, d redoubt.Disk, todo []Suspect, tries int) ([]Suspect, error) {
	for range tries {
		if len(todo) == 0 {
			return nil, nil
		}
		at, err := v.renew()
		if err != nil {
			return nil, err
		}
		if todo, err = v.look(ctx, d, todo, at); err != nil {
			return nil, err
		}
	}
	return todo, nil
}

// look compares blocks with the position in slotFresh. It returns those that
// were written to since.
func (v *verification) look(ctx context.Context, d redoubt.Disk, todo []Suspect, at redoubt.LSN) ([]Suspect, error) {
	place := map[uint64]int{}
	for i := range todo {
		trees, err := v.l.plant(ctx, d, todo[i].Chunk, todo[i].Chunk+1)
		if err != nil {
			return nil, err
		}
		todo[i].Tree = trees[0]
		place[todo[i].Chunk] = i
	}
	moving := make([]Mask, len(todo))
	_, err := v.o.Writes.Since(at, func(disk redoubt.DiskID, e redoubt.Extent) {
		if disk != d.ID {
			return
		}
		for c := e.Off / ChunkSize; c*ChunkSize < e.End(); c++ {
			if i, ok := place[c]; ok {
				moving[i].setRange(max(e.Off, c*ChunkSize)-c*ChunkSize, min(e.End()-c*ChunkSize, ChunkSize))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	var left []Suspect
	for i := range todo {
		l := Suspect{Chunk: todo[i].Chunk}
		for k := range l.Mask {
			l.Mask[k] = todo[i].Mask[k] & moving[i][k]
			todo[i].Mask[k] &^= moving[i][k]
		}
		if !l.Mask.Empty() {
			left = append(left, l)
		}
	}
	masks, err := v.c.Differ(slotFresh, d.ID, todo)
	if err != nil {
		return nil, err
	}
	for i, m := range masks {
		for l := range chunkLeafs {
			if m.Has(l) {
				off := todo[i].Chunk*ChunkSize + uint64(l)*LeafSize
				v.rec.differ(d.ID, redoubt.Extent{Off: off, Len: min(LeafSize, d.Size-off)})
			}
		}
	}
	return left, nil
}

// keep puts blocks off to the end.
func (v *verification) keep(d redoubt.Disk, left []Suspect) {
	for _, s := range left {
		v.rec.Moved += s.Mask.Count()
		if v.kept >= maxLater {
			v.rec.Unsettled += s.Mask.Count()
			continue
		}
		v.later[d.ID][s.Chunk] = s.Mask
		v.kept++
	}
}
