package target

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/ship"
)

const helloTimeout = 10 * time.Second

type sink struct{ s *Store }

// Hello answers a sender: it creates an unknown group, or one in place of a group
// whose points are deleted, redirects to the owner,
// fences what is not the current writer, and opens a stream otherwise.
func (k sink) Hello(ctx context.Context, peer pki.Identity, h ship.Hello) (ship.Welcome, ship.Stream, error) {
	s := k.s
	ctx, cancel := context.WithTimeout(ctx, helloTimeout)
	defer cancel()
	fail := func(err error, hint string) (ship.Welcome, ship.Stream, error) {
		return ship.Welcome{}, nil, &redoubt.Error{Op: "accept stream of group", Object: string(h.Group), Err: err, Hint: hint}
	}
	if err := redoubt.ValidName("group", string(h.Group)); err != nil {
		return ship.Welcome{}, nil, err
	}
	if h.Reverse {
		return fail(fmt.Errorf("a reverse stream goes to a source: %w", redoubt.ErrInvalid), "")
	}
	if peer.Role != pki.RoleSource && peer.Role != pki.RoleTarget {
		return fail(fmt.Errorf("certificate of %s: %w", peer, redoubt.ErrDenied), "a stream needs the certificate of a source or a target")
	}
	defer s.lockGroup(h.Group)()
	if err := s.node.Barrier(ctx); err != nil {
		return ship.Welcome{}, nil, err
	}
	g, known := s.catalog.Group(h.Group)
	renew := known && g.UUID != h.UUID && !lostIdentity(&g, peer, &h) && s.catalog.Vacant(g.ID) == nil
	if !known || renew {
		if h.Probe || peer.Role != pki.RoleSource || peer.Name != h.Source {
			return fail(redoubt.ErrNotFound, "the source creates the group when it first connects")
		}
		var err error
		if g, err = s.create(ctx, h, renew); err != nil {
			return ship.Welcome{}, nil, err
		}
	}
	if g.UUID != h.UUID && !lostIdentity(&g, peer, &h) {
		return fail(fmt.Errorf("the group there belongs to another source or an earlier journal: %w", redoubt.ErrExists),
			"choose another group name; a journal that was made anew counts as another source")
	}
	if err := s.noteAddress(ctx, &g, peer, &h); err != nil {
		return ship.Welcome{}, nil, err
	}
	if known := s.catalog.Binding(g.ID).Journal; known != "" && h.Journal != "" && known != h.Journal {
		h.Receipt = nil // of a journal that is not the one in which writes were lost
	}
	if h.Receipt != nil && g.UUID == h.UUID && peer == (pki.Identity{Role: pki.RoleSource, Name: g.Source}) {
		// A receipt that cannot be recorded now is told again with the next Hello.
		if err := s.receipt(ctx, &g, h.Receipt); err != nil {
			s.o.Logger.Warn("loss receipt not recorded", "group", g.ID, "err", err)
		}
	}
	if h.Job != nil && peer == (pki.Identity{Role: pki.RoleSource, Name: g.Source}) {
		var err error
		if g, err = s.tell(ctx, g, h.Job); err != nil {
			return ship.Welcome{}, nil, err
		}
	}
	var answer *ship.Answer
	if h.Ask != nil && h.Probe && peer == (pki.Identity{Role: pki.RoleSource, Name: g.Source}) {
		answer = s.grant(ctx, &g, h.Ask)
	}
	w := s.welcome(&g)
	w.Answer = answer
	if peer.Role == pki.RoleSource && peer.String() == g.Writer && h.Epoch >= w.Anew {
		if err := s.checkJournal(ctx, &g, &h, &w); err != nil {
			return ship.Welcome{}, nil, err
		}
	}
	if g.UUID != h.UUID {
		w.UUID = g.UUID
		if w.Lost == "" && w.Compare.IsZero() { // another host writes the group
			w.Fenced = true
		}
		return w, nil, nil
	}
	if h.Probe {
		w.Fenced = h.Epoch != g.Epoch || peer.String() != g.Writer
		return w, nil, nil
	}
	if g.Owner != s.o.ID {
		info, ok := s.catalog.Node(g.Owner)
		if !ok {
			return fail(fmt.Errorf("owner %s has no address: %w", g.Owner, redoubt.ErrUnavailable), "")
		}
		w.Redirect = info.Addr
		w.Reason = "node " + string(g.Owner) + " owns the group"
		return w, nil, nil
	}
	switch {
	case w.Lost != "", !w.Compare.IsZero() && h.Epoch < g.Epoch:
		return w, nil, nil
	case h.Epoch > g.Epoch:
		return fail(fmt.Errorf("epoch %d, the cluster knows %d: %w", h.Epoch, g.Epoch, redoubt.ErrState), "the source belongs to another cluster, or the cluster was restored from an old copy")
	case peer.String() != g.Writer:
		w.Fenced, w.Reason = true, fmt.Sprintf("%s writes the group since epoch %d", g.Writer, g.Epoch)
		return w, nil, nil
	case h.Epoch < w.Anew:
		w.Fenced, w.Reason = true, fmt.Sprintf("the group was protected again in epoch %d", w.Anew)
		return w, nil, nil
	case h.Epoch < g.Epoch:
		f, _ := g.Lineage.Find(g.Epoch)
		if f.Parent != h.Epoch || f.At != h.Head {
			w.Fenced = true
			w.Reason = fmt.Sprintf("epoch %d continues %d:%d, the journal ends at %d:%d", g.Epoch, f.Parent, f.At, h.Epoch, h.Head)
			return w, nil, nil
		}
		w.Reason = fmt.Sprintf("take over as the writer of epoch %d", g.Epoch)
		return w, nil, nil
	case w.Hold != nil:
		w.Reason = "the group is " + w.Hold.State
		return w, nil, nil
	}
	if peer.Role == pki.RoleSource {
		g2, err := s.update(ctx, &g, h)
		if err != nil {
			return ship.Welcome{}, nil, err
		}
		g = g2
	}
	st, g, err := s.openStream(ctx, g.ID, h.Tail, diskNames(&h))
	if err != nil {
		return ship.Welcome{}, nil, err
	}
	if st.writer != peer.String() || st.series.Epoch != h.Epoch || g.Owner != s.o.ID {
		st.Close()
		return fail(redoubt.ErrUnavailable, "the group changed meanwhile; connect again")
	}
	w = s.welcome(&g)
	if w.Gap, err = s.openGap(ctx, &g, h.GivenUp); err != nil {
		st.Close()
		return ship.Welcome{}, nil, err
	}
	// The gap of a resynchronisation ends with its copy: the journal knows nothing of it.
	if w.Compare = s.resyncFrom(&g); !w.Compare.IsZero() && h.GivenUp == 0 {
		w.Gap = false
	}
	s.contact(st.series, h.Head, h.HeadTime)
	return w, st, nil
}

// lockGroup lets one Hello of the group at a time pass, and returns the unlock.
func (s *Store) lockGroup(id redoubt.GroupID) func() {
	s.mu.Lock()
	m := s.joining[id]
	if m == nil {
		m = &sync.Mutex{}
		s.joining[id] = m
	}
	s.mu.Unlock()
	m.Lock()
	return m.Unlock
}

func (s *Store) welcome(g *catalog.Group) ship.Welcome {
	st := s.catalog.Standing(g.ID)
	w := ship.Welcome{Epoch: g.Epoch, Lineage: g.Lineage, Writer: g.Writer, Committed: g.Committed, Baseline: g.Baseline,
		State: g.State.String(), Owner: string(g.Owner), Anew: st.Anew, Jobs: true, Job: s.order(g)}
	w.Disks, w.NextDisk = g.Disks, s.catalog.NextDisk(g.ID)
	if g.Held() {
		w.Hold = &ship.Hold{State: g.State.String(), By: st.By, Since: st.Since, Reason: st.Reason}
	}
	return w
}

// create makes the group; renew says that it takes the name of one whose points
// are deleted.
func (s *Store) create(ctx context.Context, h ship.Hello, renew bool) (catalog.Group, error) {
	k, m := h.K, h.M
	if k == 0 {
		k, m = s.o.K, s.o.M
	}
	c := catalog.CreateGroup{ID: h.Group, UUID: h.UUID, Source: h.Source, SourceAddr: h.Advertise,
		Disks: h.Members(), K: k, M: m, Now: s.o.Now().UnixNano()}
	var cmd catalog.Command = c
	if renew {
		cmd = catalog.RenewGroup(c)
	}
	v, err := s.node.Propose(ctx, cmd)
	if err != nil {
		return catalog.Group{}, err
	}
	g, ok := v.(catalog.Group)
	if !ok {
		return catalog.Group{}, &redoubt.Error{Op: "create group", Object: string(h.Group), Err: redoubt.ErrUnavailable}
	}
	s.o.Logger.Info("group created", "group", g.ID, "source", g.Source, "owner", g.Owner, "k", g.K, "m", g.M)
	return g, nil
}

// noteAddress tells the cluster where the group's source listens now, also when
// another host writes the group: the way back leads there.
func (s *Store) noteAddress(ctx context.Context, g *catalog.Group, peer pki.Identity, h *ship.Hello) error {
	if h.Advertise == g.SourceAddr || h.Advertise == "" || peer != (pki.Identity{Role: pki.RoleSource, Name: g.Source}) {
		return nil
	}
	v, err := s.node.Propose(ctx, catalog.UpdateGroup{Group: g.ID, SourceAddr: h.Advertise})
	if err != nil {
		return err
	}
	if n, ok := v.(catalog.Group); ok {
		s.o.Logger.Info("the source listens elsewhere", "group", g.ID, "was", g.SourceAddr, "now", n.SourceAddr)
		*g = n
	}
	return nil
}

// update refuses disks that do not go with those the cluster knows.
func (s *Store) update(ctx context.Context, g *catalog.Group, h ship.Hello) (catalog.Group, error) {
	if len(h.Disks) == 0 || sameDisks(&h, g.Disks) {
		return *g, nil
	}
	v, err := s.node.Propose(ctx, catalog.UpdateGroup{Group: g.ID, SourceAddr: g.SourceAddr, Disks: h.Disks})
	if err != nil {
		return catalog.Group{}, err
	}
	if n, ok := v.(catalog.Group); ok {
		return n, nil
	}
	return *g, nil
}

// receipt records which writes the returned source has lost.
func (s *Store) receipt(ctx context.Context, g *catalog.Group, l *ship.LossSummary) error {
	r := catalog.Receipt{Epoch: l.Head.Epoch, Writes: l.Writes, Bytes: l.Bytes, FirstTime: l.FirstTime, LastTime: l.LastTime}
	if l.Head.LSN > l.Fork.LSN && l.Writes > 0 {
		r.First, r.Last = l.Fork.LSN+1, l.Head.LSN
	}
	if r.Epoch >= g.Epoch {
		return nil // of a writer that has come back meanwhile
	}
	if at, ok := g.Lineage.ForkFrom(r.Epoch); !ok || l.Fork.LSN != min(at, l.Head.LSN) {
		return nil // made for another recovery point than the present one
	}
	if old := g.Receipt; old != nil && old.Epoch == r.Epoch && old.First == r.First && old.Last == r.Last && old.Writes == r.Writes {
		return nil // told before
	}
	r.Time = s.o.Now().UnixNano()
	_, err := s.node.Propose(ctx, catalog.RecordReceipt{Group: g.ID, Receipt: r})
	return err
}

// openStream replaces the group's stream. The old one may have a proposal under
// way, whose outcome decides where the new one begins.
func (s *Store) openStream(ctx context.Context, id redoubt.GroupID, tail redoubt.LSN, names map[redoubt.DiskID]string) (*stream, catalog.Group, error) {
	s.mu.Lock()
	old := s.streams[id]
	s.mu.Unlock()
	if old != nil {
		old.stop(&redoubt.Error{Op: "store delta", Object: string(id), Err: redoubt.ErrClosed, Hint: "the sender has connected again"})
		if err := s.node.Barrier(ctx); err != nil {
			return nil, catalog.Group{}, err
		}
	}
	g, err := s.group(id)
	if err != nil {
		return nil, g, err
	}
	st := newStream(s, &g, s.catalog.SegmentCount(id, g.Epoch), tail)
	st.names = names
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		st.cancel()
		return nil, g, &redoubt.Error{Op: "open stream", Object: string(id), Err: redoubt.ErrClosed}
	}
	s.streams[id] = st
	return st, g, nil
}
