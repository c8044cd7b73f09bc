package metrics

import (
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// bookmarkShelf has what a source's bookmarks and their freeze hooks did.
func bookmarkShelf() shelf[*adminv1.BookmarkFigures] {
	type figures = *adminv1.BookmarkFigures
	s := shelf[figures]{prefix: "redoubt_bookmark_", labels: []string{"group"}}
	s.counter("app_total", "Application-consistent bookmarks placed.", func(b figures) uint64 { return b.AppConsistent })
	s.counter("crash_total", "Crash-consistent bookmarks placed.", func(b figures) uint64 { return b.CrashConsistent })
	s.counter("failed_total", "Bookmarks that failed.", func(b figures) uint64 { return b.Failed })
	s.seconds("frozen_seconds_total", "Time for which applications were frozen, all bookmarks together.", func(b figures) float64 { return b.Frozen.AsDuration().Seconds() })
	s.gauge("last_frozen_seconds", "Time for which the last bookmark with hooks froze applications.", func(b figures) (float64, bool) {
		return b.LastFrozen.AsDuration().Seconds(), b.LastFrozen.AsDuration() > 0
	})
	s.gauge("last_app_timestamp_seconds", "Unix time of the last application-consistent bookmark.", func(b figures) (float64, bool) {
		return float64(b.LastApp.AsTime().UnixNano()) / 1e9, b.LastApp != nil
	})
	s.gauge("frozen", "1 while applications are frozen.", func(b figures) (float64, bool) { return truth(b.FrozenSince != nil) })
	return s
}
