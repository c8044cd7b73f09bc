// Package version says which build of Redoubt this is.
package version

import "runtime/debug"

// release is set by the linker for released builds (-X).
var release = ""

// String returns the release, or else what the build recorded of its revision.
func String() string {
	if release != "" {
		return release
	}
	bi, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	rev, dirty := "", ""
	for _, s := range bi.Settings {
		switch s.Key {
		case "vcs.revision":
			rev = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = "+changes"
			}
		}
	}
	if rev == "" {
		return "development"
	}
	return "development-" + rev[:min(12, len(rev))] + dirty
}
