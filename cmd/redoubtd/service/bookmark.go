package service

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/source"
	"github.com/redoubt-dr/redoubt/source/freeze"
)

// AddBookmark names the present position of a group whose writer is here.
func (s *Service) AddBookmark(ctx context.Context, r *adminv1.AddBookmarkRequest) (*adminv1.AddBookmarkResponse, error) {
	if s.source == nil {
		return s.Elsewhere.AddBookmark(ctx, r)
	}
	g, err := s.source.Group(redoubt.GroupID(r.GetGroup()))
	if err != nil {
		return nil, err
	}
	kind, ok := map[adminv1.BookmarkKind]source.BookmarkKind{adminv1.BookmarkKind_BOOKMARK_KIND_CRASH: source.BookmarkCrash,
		adminv1.BookmarkKind_BOOKMARK_KIND_APP: source.BookmarkApp, adminv1.BookmarkKind_BOOKMARK_KIND_APP_OR_CRASH: source.BookmarkAppOrCrash}[r.GetKind()]
	if !ok {
		return nil, &redoubt.Error{Op: "add bookmark", Object: r.GetName(), Err: redoubt.ErrInvalid, Hint: "the node does not know this kind of bookmark"}
	}
	b, err := g.Bookmark(ctx, r.GetName(), kind)
	if err != nil {
		return nil, err
	}
	out := &adminv1.AddBookmarkResponse{Position: admin.FromPosition(b.Position), Time: stamp(b.Time), AppConsistent: b.App,
		WhyNot: words(b.Why), Steps: hookSteps(b.Hooks.Steps), NotThawed: words(b.Hooks.Err)}
	if len(b.Hooks.Steps) > 0 {
		out.Frozen = durationpb.New(b.Hooks.Frozen)
	}
	return out, nil
}

// maxStepOutput bounds what an answer holds of one script's output, in bytes.
const maxStepOutput = 4 << 10

func hookSteps(steps []freeze.Step) (out []*adminv1.HookStep) {
	for _, s := range steps {
		tail := s.Tail[max(0, len(s.Tail)-maxStepOutput):]
		out = append(out, &adminv1.HookStep{What: s.What, Took: durationpb.New(s.Took), Error: words(s.Err), Output: strings.ToValidUTF8(string(tail), "?")})
	}
	return out
}

// words returns an error as text, with its hint.
func words(err error) string {
	if err == nil {
		return ""
	}
	if h := redoubt.Hint(err); h != "" {
		return err.Error() + " (" + h + ")"
	}
	return err.Error()
}

func bookmarkFigures(b source.Bookmarks) *adminv1.BookmarkFigures {
	out := &adminv1.BookmarkFigures{AppConsistent: b.App, CrashConsistent: b.Crash, Failed: b.Failed, Frozen: durationpb.New(b.Frozen),
		LastFrozen: durationpb.New(b.LastFrozen), LastApp: stamp(b.LastApp), FrozenSince: stamp(b.FrozenSince)}
	if b.Err != nil {
		out.Error, out.Hint = b.Err.Error(), redoubt.Hint(b.Err)
	}
	return out
}

// ListBookmarks lists the named points of a group.
func (s *Service) ListBookmarks(ctx context.Context, r *adminv1.ListBookmarksRequest) (*adminv1.ListBookmarksResponse, error) {
	if s.target == nil {
		return s.Elsewhere.ListBookmarks(ctx, r)
	}
	limit := int(r.GetLimit())
	if limit == 0 {
		limit = defaultPoints
	}
	limit = min(limit, maxPoints)
	bs, err := s.target.Store.History().Bookmarks(ctx, redoubt.GroupID(r.GetGroup()), limit+1)
	if err != nil {
		return nil, err
	}
	out := &adminv1.ListBookmarksResponse{Truncated: len(bs) > limit}
	for i := range bs[:min(limit, len(bs))] {
		out.Bookmarks = append(out.Bookmarks, bookmark(&bs[i]))
	}
	return out, nil
}

func bookmark(b *catalog.Bookmark) *adminv1.Bookmark {
	out := &adminv1.Bookmark{Name: b.Name, Epoch: uint64(b.Position.Epoch), Lsn: uint64(b.Position.LSN), Time: stamp(time.Unix(0, b.Time)), AppConsistent: b.App}
	if !b.Set.IsZero() {
		out.Set = b.Set.String()
	}
	return out
}
