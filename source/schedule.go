package source

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// scheduledName is the form of the names of bookmarks that nobody asked for, in UTC.
const scheduledName = "auto-20060102T150405Z"

// runBookmarks makes a bookmark at every multiple of the configured time, until
// ctx is done. With hooks it is application-consistent if that can be had.
func (g *Group) runBookmarks(ctx context.Context) {
	every := g.cfg.BookmarkEvery
	if every <= 0 {
		return
	}
	kind := BookmarkCrash
	if !g.freezer.Empty() {
		kind = BookmarkAppOrCrash
	}
	for {
		now := g.host.Now()
		due := now.Truncate(every).Add(every)
		if pause(ctx, due.Sub(now)); ctx.Err() != nil {
			return
		}
		if _, _, whole := g.copy.Progress(); !whole {
			continue // there is no recovery point yet
		}
		b, err := g.Bookmark(ctx, due.UTC().Format(scheduledName), kind)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			g.log.Warn("a scheduled bookmark failed", "err", err, "hint", redoubt.Hint(err))
		case b.Why != nil:
			g.log.Warn("a scheduled bookmark is only crash-consistent", "position", b.Position.String(), "err", b.Why, "hint", redoubt.Hint(b.Why))
		default:
			g.log.Info("scheduled bookmark", "position", b.Position.String(), "app", b.App, "frozen", b.Hooks.Frozen.Round(time.Millisecond))
		}
	}
}
