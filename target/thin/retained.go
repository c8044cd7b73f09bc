package thin

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// State returns what is kept of a group, and why it is not thinned at
// present, if it is not, as far as this node knows: only the owner thins.
func (th *Thinner) State(id redoubt.GroupID) (r catalog.Retention, stuck error, err error) {
	if _, err := th.o.History.Group(id); err != nil {
		return r, nil, err
	}
	th.mu.Lock()
	defer th.mu.Unlock()
	return th.o.Catalog.Retention(id), th.stuck[id], nil
}

// marksKept returns the new bookmarks that stay.
func (o *outlook) marksKept(changes []catalog.TrackChange) (out []catalog.Mark) {
	for _, m := range o.marks {
		for i := range changes {
			if c := &changes[i]; c.Epoch == m.Position.Epoch && m.Position.LSN < c.Horizon {
				for _, k := range c.Keep {
					if k.LSN == m.Position.LSN {
						out = append(out, m)
					}
				}
			}
		}
	}
	return out
}

// ConfirmClock says that the time of the newest write is right, however far it
// is from the one before, and returns what retention reckons with from now on.
func (th *Thinner) ConfirmClock(ctx context.Context, id redoubt.GroupID) (time.Time, error) {
	if err := th.o.Cluster.Barrier(ctx); err != nil {
		return time.Time{}, err
	}
	g, err := th.o.History.Group(id)
	if err != nil {
		return time.Time{}, err
	}
	to := th.o.History.Clock(&g)
	_, err = th.o.Cluster.Propose(ctx, catalog.AdvanceClock{Group: id, To: to, Confirm: true})
	return time.Unix(0, to), err
}
