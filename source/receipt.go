package source

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/ship"
)

// Receipt says exactly what this side had written above the point that the
// secondary was failed over to.
type Receipt struct {
	Fork    redoubt.Position `json:"fork"` // the last write that both sides share
	Head    redoubt.Position `json:"head"` // the last write of this side
	Records uint64           `json:"records"`
	Bytes   uint64           `json:"bytes"`
	First   time.Time        `json:"first"`
	Last    time.Time        `json:"last"`
	// KeptElsewhere counts writes above the fork that this journal has trimmed,
	// because the secondary holds them: as the branch of the old epoch.
	KeptElsewhere uint64 `json:"kept_elsewhere"`
	// GivenUp counts records above the fork that the journal gave up when it was
	// full: what they changed is in Extents, each of them is not known any more.
	GivenUp   uint64      `json:"given_up,omitempty"`
	Writes    []LostWrite `json:"writes"`
	Truncated bool        `json:"truncated"` // Writes stops at MaxLostWrites
	// Extents are the bytes of each disk that the lost writes touched, merged.
	Extents map[redoubt.DiskID][]redoubt.Extent `json:"extents"`
}

// LostWrite is one write of the orphan tail.
type LostWrite struct {
	LSN    redoubt.LSN    `json:"lsn"`
	Time   int64          `json:"time"`
	Disk   redoubt.DiskID `json:"disk"`
	Kind   redoubt.Kind   `json:"kind"`
	Extent redoubt.Extent `json:"extent"`
}

// MaxLostWrites bounds the list of a receipt; counts and extents are always complete.
const MaxLostWrites = 100_000

const receiptFile = "receipt.json"

// lossReceipt compares this side's journal with the lineage that fenced it.
func (g *Group) lossReceipt(l redoubt.Lineage) (Receipt, error) {
	role := g.Role()
	fork, _ := l.ForkFrom(role.Epoch)
	head := g.journal.Head()
	fork = min(fork, head.LSN)
	r := Receipt{Fork: redoubt.Position{Epoch: role.Epoch, LSN: fork}, Head: head}
	from := fork + 1
	if tail := g.journal.Tail(); tail > from {
		r.KeptElsewhere = uint64(tail - from)
		if gap, ok := g.journal.Gap(); ok {
			if first, end := max(from, gap.From+1), min(gap.UpTo+1, tail); end > first {
				r.GivenUp, r.KeptElsewhere = uint64(end-first), r.KeptElsewhere-uint64(end-first)
				r.First = time.Unix(0, gap.Since)
			}
		}
		from = tail
	}
	err := g.journal.Replay(from, func(w *redoubt.Write) error {
		if w.Kind != redoubt.KindWrite && !w.Kind.Zeroes() {
			return nil
		}
		if r.Records == 0 && r.GivenUp == 0 {
			r.First = w.When()
		}
		r.Last = w.When()
		r.Records++
		r.Bytes += w.Extent.Len
		if len(r.Writes) < MaxLostWrites {
			r.Writes = append(r.Writes, LostWrite{w.LSN, w.Time, w.Disk, w.Kind, w.Extent})
		} else {
			r.Truncated = true
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	r.Extents, err = g.journal.Owed(from - 1)
	return r, err
}

// ensureReceipt makes the receipt of a fenced group if it is not there, or if
// the one that is there is of another fence: a receipt stays until the next one.
// Without it the fence stands all the same. The caller holds g.step.
func (g *Group) ensureReceipt() {
	role := g.Role()
	if role.Mode != ModeFenced {
		return
	}
	fork, _ := role.FencedBy.ForkFrom(role.Epoch)
	head := g.journal.Head()
	if old, ok := g.Receipt(); ok && old.Head == head && old.Fork == (redoubt.Position{Epoch: role.Epoch, LSN: min(fork, head.LSN)}) {
		return
	}
	r, err := g.lossReceipt(role.FencedBy)
	if err == nil {
		err = g.keepReceipt(&r)
	}
	if err != nil {
		g.log.Error("the loss receipt could not be made", "err", err)
		return
	}
	g.log.Warn("loss receipt", "fork", r.Fork.String(), "head", r.Head.String(), "records", r.Records, "bytes", r.Bytes)
}

// Receipt returns what was lost, if this side was fenced.
func (g *Group) Receipt() (Receipt, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.receipt == nil {
		return Receipt{}, false
	}
	r := *g.receipt
	r.Writes = slices.Clone(r.Writes)
	return r, true
}

// keepReceipt makes r durable, in a file of its own: it outlives the journal's
// records and may be large. A nil r removes it.
func (g *Group) keepReceipt(r *Receipt) error {
	path := filepath.Join(g.host.groupDir(g.cfg.Name), receiptFile)
	if r == nil {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	} else {
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		if err := vfs.WriteAtomic(vfs.OS, path, b); err != nil {
			return err
		}
	}
	g.mu.Lock()
	g.receipt = r
	g.mu.Unlock()
	return nil
}

func loadReceipt(dir string) (*Receipt, error) {
	path := filepath.Join(dir, receiptFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := new(Receipt)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, &redoubt.Error{Op: "read loss receipt", Object: path, Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err),
			Hint: "move the file away; the writes themselves are in the journal or its branch"}
	}
	return r, nil
}

func (r *Receipt) summary() *ship.LossSummary {
	return &ship.LossSummary{Fork: r.Fork, Head: r.Head, Writes: r.Records, Bytes: r.Bytes, FirstTime: r.First.UnixNano(), LastTime: r.Last.UnixNano()}
}
