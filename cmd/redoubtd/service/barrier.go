package service

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/target/barrier"
)

// AddBookmarkSet names one instant of several groups. A node of the secondary
// coordinates: it knows all writers, it may call them, and sources may call nobody.
func (s *Service) AddBookmarkSet(ctx context.Context, r *adminv1.AddBookmarkSetRequest) (*adminv1.AddBookmarkSetResponse, error) {
	if s.target == nil {
		return s.Elsewhere.AddBookmarkSet(ctx, r)
	}
	if err := redoubt.ValidName("bookmark", r.GetName()); err != nil {
		return nil, err
	}
	if h := r.GetHold().AsDuration(); h < 0 || h > maxHold {
		return nil, &redoubt.Error{Op: "add bookmarks", Object: r.GetName(), Err: redoubt.ErrInvalid, Hint: "writes are held back for at most " + maxHold.String()}
	}
	if s.target.Node.Catalog().SetsFull() {
		if _, err := s.target.Node.Propose(ctx, catalog.ForgetSets{}); err != nil {
			return nil, err
		}
	}
	set := catalog.Set{Name: r.GetName()}
	_, _ = rand.Read(set.ID[:])
	peers, closeAll, err := s.barrierPeers(ctx, r, set.ID)
	if err != nil {
		return nil, err
	}
	defer closeAll()
	set.Time = time.Now().UnixNano()
	made, err := barrier.Run(ctx, peers, barrier.Options{App: r.GetApp(), Hold: r.GetHold().AsDuration()})
	if err != nil {
		return nil, err
	}
	set.Barrier = int64(made.Barrier)
	for i, p := range peers {
		set.Members = append(set.Members, catalog.SetMember{Group: p.Group(), Position: made.Members[i].Position})
	}
	if _, err := s.target.Node.Propose(ctx, catalog.CommitSet{Set: set}); err != nil {
		return nil, err
	}
	s.node.Logger.Info("bookmark of several groups", "name", set.Name, "set", set.ID.String(), "groups", len(peers), "barrier", made.Barrier)
	return bookmarkSet(&set, made, r.GetApp()), nil
}

// maxHold is what a source takes; see blockdev.MaxHold.
const maxHold = 10 * time.Second

func bookmarkSet(set *catalog.Set, made barrier.Result, app bool) *adminv1.AddBookmarkSetResponse {
	out := &adminv1.AddBookmarkSetResponse{Set: set.ID.String(), Barrier: durationpb.New(made.Barrier), Time: stamp(time.Unix(0, set.Time)), AppConsistent: app}
	for i, m := range made.Members {
		o := &adminv1.BookmarkSetMember{Group: string(set.Members[i].Group), Epoch: uint64(m.Position.Epoch), Lsn: uint64(m.Position.LSN), Held: durationpb.New(m.Held), NotThawed: m.NotThawed}
		if m.Frozen > 0 {
			o.Frozen = durationpb.New(m.Frozen)
		}
		out.Members = append(out.Members, o)
	}
	return out
}

// barrierPeers finds the writers of the groups, by group.
func (s *Service) barrierPeers(ctx context.Context, r *adminv1.AddBookmarkSetRequest, set redoubt.SetID) (peers []barrier.Peer, closeAll func(), err error) {
	groups := slices.Clone(r.GetGroups())
	slices.Sort(groups)
	bad := func(hint string) error {
		return &redoubt.Error{Op: "add bookmarks", Object: r.GetName(), Err: redoubt.ErrInvalid, Hint: hint}
	}
	switch {
	case len(groups) == 0 || len(groups) > catalog.MaxMembers:
		return nil, nil, bad(fmt.Sprintf("name 1 to %d groups", catalog.MaxMembers))
	case len(slices.Compact(slices.Clone(groups))) != len(groups):
		return nil, nil, bad("a group is named twice")
	}
	if err := s.target.Node.Barrier(ctx); err != nil {
		return nil, nil, err
	}
	var clients []*admin.Client
	closeAll = func() {
		for _, c := range clients {
			c.Close()
		}
	}
	for _, id := range groups {
		c, err := s.atWritingSource(ctx, redoubt.GroupID(id))
		if err != nil {
			closeAll()
			return nil, nil, err
		}
		clients = append(clients, c)
		peers = append(peers, &barrierPeer{client: c, group: id, name: r.GetName(), set: set.String()})
	}
	return peers, closeAll, nil
}

// atWritingSource returns a client of the source that writes the group.
func (s *Service) atWritingSource(ctx context.Context, id redoubt.GroupID) (*admin.Client, error) {
	if g, ok := s.target.Node.Catalog().Group(id); ok && !strings.HasPrefix(g.Writer, catalog.SourceWriter("")) {
		return nil, &redoubt.Error{Op: "find writer of group", Object: string(id), Err: fmt.Errorf("it is %s: %w", g.Writer, redoubt.ErrState),
			Hint: "a set of bookmarks needs groups that their source hosts write"}
	}
	return s.atSource(ctx, id)
}

// barrierPeer is the writer of one group, at another host.
type barrierPeer struct {
	client           *admin.Client
	group, name, set string
}

func (p *barrierPeer) Group() redoubt.GroupID { return redoubt.GroupID(p.group) }

func (p *barrierPeer) step(ctx context.Context, s adminv1.BarrierStep, limit time.Duration) (*adminv1.BarrierResponse, error) {
	r := &adminv1.BarrierRequest{Group: p.group, Set: p.set, Name: p.name, Step: s}
	if limit > 0 {
		r.Hold = durationpb.New(limit)
	}
	return p.client.Barrier(ctx, r)
}

func (p *barrierPeer) Freeze(ctx context.Context) error {
	_, err := p.step(ctx, adminv1.BarrierStep_BARRIER_STEP_FREEZE, 0)
	return err
}

func (p *barrierPeer) Hold(ctx context.Context, limit time.Duration) (redoubt.Position, error) {
	r, err := p.step(ctx, adminv1.BarrierStep_BARRIER_STEP_HOLD, limit)
	return redoubt.Position{Epoch: redoubt.Epoch(r.GetEpoch()), LSN: redoubt.LSN(r.GetLsn())}, err
}

func (p *barrierPeer) Release(ctx context.Context) (barrier.Released, error) {
	r, err := p.step(ctx, adminv1.BarrierStep_BARRIER_STEP_RELEASE, 0)
	return barrier.Released{Position: redoubt.Position{Epoch: redoubt.Epoch(r.GetEpoch()), LSN: redoubt.LSN(r.GetLsn())},
		Held: r.GetHeld().AsDuration(), Frozen: r.GetFrozen().AsDuration(), NotThawed: r.GetNotThawed()}, err
}

func (p *barrierPeer) Abort(ctx context.Context) error {
	_, err := p.step(ctx, adminv1.BarrierStep_BARRIER_STEP_ABORT, 0)
	return err
}

// Barrier is one step of a bookmark of several groups, at the writer of one.
func (s *Service) Barrier(ctx context.Context, r *adminv1.BarrierRequest) (*adminv1.BarrierResponse, error) {
	if s.source == nil {
		return s.Elsewhere.Barrier(ctx, r)
	}
	g, err := s.source.Group(redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	set, err := redoubt.ParseSetID(r.GetSet())
	if err != nil {
		return nil, err
	}
	m := redoubt.Bookmark{Name: r.GetName(), Set: set}
	switch r.GetStep() {
	case adminv1.BarrierStep_BARRIER_STEP_FREEZE:
		hooks, err := g.BarrierFreeze(ctx, m)
		return barrierAnswer(source.Released{Hooks: hooks}), err
	case adminv1.BarrierStep_BARRIER_STEP_HOLD:
		p, err := g.BarrierHold(ctx, m, r.GetHold().AsDuration())
		return barrierAnswer(source.Released{Position: p}), err
	case adminv1.BarrierStep_BARRIER_STEP_RELEASE:
		done, err := g.BarrierRelease(ctx, set)
		return barrierAnswer(done), err
	case adminv1.BarrierStep_BARRIER_STEP_ABORT:
		return barrierAnswer(source.Released{Hooks: g.BarrierAbort(set)}), nil
	}
	return nil, &redoubt.Error{Op: "take part in bookmark", Object: r.GetName(), Err: redoubt.ErrInvalid, Hint: "the node does not know this step"}
}

func barrierAnswer(r source.Released) *adminv1.BarrierResponse {
	out := &adminv1.BarrierResponse{Epoch: uint64(r.Position.Epoch), Lsn: uint64(r.Position.LSN), Steps: hookSteps(r.Hooks.Steps), NotThawed: words(r.Hooks.Err)}
	if r.Held > 0 {
		out.Held = durationpb.New(r.Held)
	}
	if len(r.Hooks.Steps) > 0 {
		out.Frozen = durationpb.New(r.Hooks.Frozen)
	}
	return out
}
