package compare

import (
	"context"

	"github.com/redoubt-dr/redoubt"
)

// Differ finds what the disks here hold otherwise than the server, at the
// newest that is stored there, for whoever ships it. What is written meanwhile
// may be found or not.
type Differ struct {
	Client *Client
	Group  redoubt.GroupID
	UUID   string
	Disks  Disks
	Rate   int64 // bytes a second that are read here at most; 0: no limit

	l *local
}

// Open opens the newest content at the server, whole or not.
func (f *Differ) Open() error {
	f.l = newLocal(f.Disks, f.Rate)
	_, err := f.Client.Open(Ask{Group: f.Group, UUID: f.UUID, Slot: slotBase, Torn: true})
	return err
}

// Each calls fn for each window of the disk from the offset from on, with the
// blocks of it that differ, merged, and the offset up to which it is looked at. A
// window is no more than the rate allows in a second, so that what was found is
// shipped, and seen, meanwhile.
func (f *Differ) Each(ctx context.Context, d redoubt.Disk, from uint64, fn func(found []redoubt.Extent, upTo uint64) error) error {
	all, step := chunks(d.Size), uint64(WindowChunks)
	if f.Rate > 0 {
		step = min(step, max(1, uint64(f.Rate)/ChunkSize))
	}
	for c := from / ChunkSize; c < all; c += step {
		end := min(all, c+step)
		found, err := f.window(ctx, d, c, end)
		if err != nil {
			return err
		}
		if err := fn(found, min(d.Size, end*ChunkSize)); err != nil {
			return err
		}
	}
	return nil
}

func (f *Differ) window(ctx context.Context, d redoubt.Disk, from, to uint64) ([]redoubt.Extent, error) {
	if err := f.Client.AskSums(slotBase, d.ID, from, int(to-from)); err != nil {
		return nil, err
	}
	trees, err := f.l.trees(ctx, d, from, to)
	if err != nil {
		return nil, err
	}
	sums := make([]Sum, to-from)
	if err := f.Client.TakeSums(sums); err != nil {
		return nil, err
	}
	var todo []Suspect
	for i, s := range sums {
		if c := from + uint64(i); s != trees[i].Sum {
			todo = append(todo, Suspect{Chunk: c, Mask: whole(d.Size, c), Tree: trees[i]})
		}
	}
	if len(todo) == 0 {
		return nil, nil
	}
	masks, err := f.Client.Differ(slotBase, d.ID, todo)
	if err != nil {
		return nil, err
	}
	var out []redoubt.Extent
	for i, m := range masks {
		for l := range chunkLeafs {
			if !m.Has(l) {
				continue
			}
			off := todo[i].Chunk*ChunkSize + uint64(l)*LeafSize
			e := redoubt.Extent{Off: off, Len: min(LeafSize, d.Size-off)}
			if n := len(out); n > 0 && out[n-1].End() == e.Off {
				out[n-1].Len += e.Len
			} else {
				out = append(out, e)
			}
		}
	}
	return out, nil
}
