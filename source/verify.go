package source

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/compare"
)

// verifyCursor is the journal's cursor of a comparison: it keeps what was
// written after the position that the comparison looks at.
const verifyCursor = "verify"

// verifyKey is where the journal's state has the last comparison.
const verifyKey = "verify"

// verifyingKey is where the journal's state has when the comparison began that
// has not ended: a restart that finds it has ended it.
const verifyingKey = "verifying"

// verifyTries is how often a comparison is begun again from the start when the
// connection was lost, or when a disk has joined or left.
const verifyTries = 5

// verifySettle is how long it is waited for a point with the disks that there are
// here: for the commit after one has joined, for all that was written before one left.
const verifySettle = 30 * time.Second

// VerifyStatus says how a comparison with the secondary goes, or went.
type VerifyStatus struct {
	Running   bool
	Started   time.Time // of the one that runs
	Done, All uint64    // blocks that were looked at, of all
	Last      *compare.Record
	Err       error // why the last one came to no result
}

// verifier compares a group's disks with the secondary, one comparison at a time.
type verifier struct {
	g *Group

	mu     sync.Mutex
	st     VerifyStatus
	end    context.CancelFunc // of the one that runs
	closed bool
	wg     sync.WaitGroup
}

func openVerifier(g *Group) (*verifier, error) {
	v := &verifier{g: g}
	// One that a crash has ended keeps nothing in the journal.
	if err := g.journal.RemoveCursor(verifyCursor); err != nil && !errors.Is(err, redoubt.ErrNotFound) {
		return nil, err
	}
	if began, ok, err := loadState[int64](g, verifyingKey); err != nil {
		return nil, err
	} else if ok {
		v.st.Err = &redoubt.Error{Op: "verify group", Object: string(g.cfg.Name), Hint: "redoubt verify " + string(g.cfg.Name) + " begins it anew",
			Err: fmt.Errorf("a restart of this host ended the comparison that began at %s: %w", time.Unix(0, began).UTC().Format(time.RFC3339), redoubt.ErrUnavailable)}
	}
	b, ok, err := g.journal.State(verifyKey)
	if err != nil || !ok {
		return v, err
	}
	v.st.Last = new(compare.Record)
	if err := json.Unmarshal(b, v.st.Last); err != nil {
		return nil, &redoubt.Error{Op: "read the last comparison", Object: string(g.cfg.Name), Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	return v, nil
}

// StartVerify begins to compare the disks with what the secondary has, if that
// is not under way. VerifyStatus tells what comes of it.
func (g *Group) StartVerify() error {
	switch r := g.Role(); {
	case g.host.DialCompare == nil:
		return g.cannotVerify("this host cannot reach the secondary for it")
	case r.Mode == ModeFenced:
		return g.cannotVerify("another host is the writer; reverse replicate first")
	case !r.Whole(g.journal.Head().LSN):
		return g.cannotVerify("the copy from the secondary is not complete")
	}
	if _, _, complete := g.copy.Progress(); !complete && g.Role().Mode == ModeWriter {
		return g.cannotVerify("the copy to the secondary is not complete")
	}
	v := g.verify
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.st.Running || v.closed {
		return nil
	}
	began := g.host.Now()
	if err := g.putState(verifyingKey, began.UnixNano()); err != nil {
		return err
	}
	ctx, end := context.WithCancel(context.Background())
	v.end = end
	v.st.Running, v.st.Started, v.st.Done, v.st.All, v.st.Err = true, began, 0, 0, nil
	v.wg.Go(func() { v.run(ctx) })
	return nil
}

// verifyMended compares once more, after the resynchronisation of an epoch, if
// the last comparison was before and found a difference: so that it is known
// whether that is gone.
func (g *Group) verifyMended(resynced redoubt.Epoch) {
	if last := g.VerifyStatus().Last; last == nil || last.Differing == 0 || last.At.Epoch >= resynced {
		return
	}
	if err := g.StartVerify(); err != nil {
		g.log.Warn("what was mended is not verified", "err", err, "hint", redoubt.Hint(err))
	}
}

func (g *Group) cannotVerify(hint string) error {
	return &redoubt.Error{Op: "verify group", Object: string(g.cfg.Name), Err: redoubt.ErrState, Hint: hint}
}

// StopVerify gives a comparison up and waits for its end.
func (g *Group) StopVerify() {
	v := g.verify
	v.mu.Lock()
	if v.end != nil {
		v.end()
	}
	v.mu.Unlock()
	v.wg.Wait()
}

func (v *verifier) close() {
	v.mu.Lock()
	v.closed = true
	v.mu.Unlock()
	v.g.StopVerify()
}

func (v *verifier) open() {
	v.mu.Lock()
	v.closed = false
	v.mu.Unlock()
	v.over()
}

// over forgets that a comparison has begun.
func (v *verifier) over() {
	if err := v.g.journal.PutState(verifyingKey, nil); err != nil {
		v.g.log.Warn("the next start will say that it has ended a comparison", "err", err)
	}
}

// VerifyStatus tells about the comparison that runs, or ran last.
func (g *Group) VerifyStatus() VerifyStatus {
	g.verify.mu.Lock()
	defer g.verify.mu.Unlock()
	return g.verify.st
}

func (v *verifier) run(ctx context.Context) {
	var r compare.Record
	err := redoubt.ErrUnavailable
	var names []redoubt.Disk
	// A disk that joins or leaves meanwhile is in one of the two positions only.
	again := func() bool {
		return errors.Is(err, redoubt.ErrUnavailable) || err != nil && !slices.Equal(names, v.g.members())
	}
	for try := 0; try < verifyTries && ctx.Err() == nil && again(); try++ {
		names = v.g.members()
		if try > 0 {
			v.g.log.Warn("the comparison with the secondary begins again", "err", err, "hint", redoubt.Hint(err))
			pause(ctx, retryAfter)
		}
		r, err = v.once(ctx)
	}
	if rerr := v.g.journal.RemoveCursor(verifyCursor); rerr != nil && !errors.Is(rerr, redoubt.ErrNotFound) {
		v.g.log.Warn("the journal keeps records for a comparison that is over", "err", rerr)
	}
	if err == nil {
		err = v.remember(&r)
	}
	if err == nil && r.Differing == 0 && r.Unsettled == 0 {
		v.g.step.Lock()
		err = v.g.known()
		v.g.step.Unlock()
	}
	switch {
	case err != nil:
		v.g.log.Error("the comparison with the secondary failed", "err", err, "hint", redoubt.Hint(err))
	case r.Differing > 0:
		v.g.log.Error("the disks differ from what the secondary has", "position", r.At.String(), "blocks", r.Differing, "of", r.Blocks)
	default:
		v.g.log.Info("the disks are what the secondary has", "position", r.At.String(), "blocks", r.Blocks, "unsettled", r.Unsettled, "root", r.Root.String())
	}
	v.mu.Lock()
	closed := v.closed
	v.mu.Unlock()
	if err == nil || !closed { // or it is said after the restart
		v.over()
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.st.Running, v.st.Err, v.end = false, err, nil
	if err == nil {
		v.st.Last = &r
	}
}

// once compares everything over one connection.
func (v *verifier) once(ctx context.Context) (compare.Record, error) {
	g := v.g
	c, err := g.dialCompare(ctx)
	if err != nil {
		return compare.Record{}, err
	}
	defer c.Close()
	return compare.Verify(ctx, c, compare.Options{
		Group: g.cfg.Name, UUID: g.uuid(), Names: g.members, Settle: verifySettle, Disks: g.disks, Writes: &heldWrites{g: g}, Rate: g.cfg.CompareRate, Now: g.host.Now,
		Progress: func(done, all uint64) {
			v.mu.Lock()
			v.st.Done, v.st.All = done, all
			v.mu.Unlock()
		},
	})
}

// remember makes the result durable, with no more extents than fit.
func (v *verifier) remember(r *compare.Record) error {
	b, err := json.Marshal(r)
	for err == nil && len(b) > 48<<10 {
		r.Extents = r.Extents[:len(r.Extents)/2]
		b, err = json.Marshal(r)
	}
	if err != nil {
		return err
	}
	return v.g.journal.PutState(verifyKey, b)
}

// dialCompare connects to a master target: any node can answer.
func (g *Group) dialCompare(ctx context.Context) (*compare.Client, error) {
	var last error
	for _, addr := range g.host.Targets {
		dctx, cancel := context.WithTimeout(ctx, probeTimeout)
		conn, err := g.host.DialCompare(dctx, addr)
		cancel()
		if err == nil {
			var c *compare.Client
			if c, err = compare.NewClient(ctx, conn); err == nil {
				return c, nil
			}
		}
		last = err
	}
	return nil, &redoubt.Error{Op: "reach the secondary of group", Object: string(g.cfg.Name), Err: errors.Join(redoubt.ErrUnavailable, last)}
}

// heldWrites is a group's journal as compare.Writes.
type heldWrites struct {
	g *Group
}

// Hold keeps the records after lsn in the journal.
func (h *heldWrites) Hold(lsn redoubt.LSN) error {
	c, err := h.g.journal.Cursor(verifyCursor, lsn)
	if err != nil {
		return err
	}
	return c.Ack(lsn)
}

// Since tells what was written, and copied, after lsn.
func (h *heldWrites) Since(lsn redoubt.LSN, fn func(redoubt.DiskID, redoubt.Extent)) (redoubt.LSN, error) {
	return h.g.journal.Extents(lsn, func(w redoubt.Write) {
		if w.Kind == redoubt.KindWrite || w.Kind == redoubt.KindCopy || w.Kind.Zeroes() {
			fn(w.Disk, w.Extent)
		}
	})
}

// Newest returns the journal's head.
func (h *heldWrites) Newest() redoubt.Position { return h.g.journal.Head() }
