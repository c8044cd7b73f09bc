package freeze

import (
	"log/slog"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// Options says what is frozen and how.
type Options struct {
	Group   string
	Mounts  []string      // mount points, in the order in which they are frozen
	Scripts hook.Dir      // folder of scripts; empty: none
	Step    time.Duration // limit of each script and each mount point
	Hold    time.Duration // from the first step on: at its end everything is thawed
	Note    string        // path of the note; its folder exists
	// Own are paths that the daemon needs meanwhile, such as its journal: a mount
	// point that holds one of them is refused, because nothing would ever thaw it.
	Own    []string
	Env    []string // for the scripts, beside what docs/CONFIG.md lists
	Logger *slog.Logger
}

// Empty reports whether there is nothing to freeze.
func (o *Options) Empty() bool { return len(o.Mounts) == 0 && o.Scripts == "" }

func (o *Options) validate() error {
	if o.Empty() {
		return nil
	}
	if o.Step <= 0 || o.Hold < o.Step || !filepath.IsAbs(o.Note) {
		return &redoubt.Error{Op: "check hooks of group", Object: o.Group, Err: redoubt.ErrInvalid, Hint: "limits: 0 < time <= hold"}
	}
	return nil
}
