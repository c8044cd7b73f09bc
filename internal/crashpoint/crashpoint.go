// Package crashpoint ends the process at a named point, as kill -9 would: for
// tests of what a crash between two steps leaves behind.
//
// REDOUBT_CRASH_AT=NAME or NAME:N kills it at the first, or N-th, passage of
// the point. REDOUBT_CRASH_FILE=PATH lets a test choose while the process runs,
// when it knows which part it plays: the point that PATH names kills it, and PATH
// is removed just before. Without the variables a point costs two comparisons.
package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// Env is the variable that arms a point.
	Env = "REDOUBT_CRASH_AT"
	// EnvFile is the variable that names the file which arms a point later. It
	// must appear there whole: by a rename.
	EnvFile = "REDOUBT_CRASH_FILE"
)

type armed struct {
	name string
	left atomic.Int64
	file string
}

// arm reads the variables once.
var arm = sync.OnceValue(func() *armed {
	name, n := parse(os.Getenv(Env))
	a := &armed{name: name, file: os.Getenv(EnvFile)}
	a.left.Store(n)
	return a
})

// parse splits "NAME:N"; N is 1 if it is left out or no number.
func parse(s string) (name string, n int64) {
	name, count, ok := strings.Cut(s, ":")
	if n, err := strconv.ParseInt(count, 10, 64); ok && err == nil && n > 0 {
		return name, n
	}
	return name, 1
}

// Here is the point of this name: it does not return if it is the one that is armed.
func Here(name string) {
	a := arm()
	if a.name != "" && a.name == name && a.left.Add(-1) == 0 || a.file != "" && a.named(name) {
		die()
	}
}

// named reports whether the file names this point, once: it is gone then, which
// proves that the point was passed.
func (a *armed) named(name string) bool {
	b, err := os.ReadFile(a.file)
	return err == nil && string(b) == name && os.Remove(a.file) == nil
}

// die is SIGKILL to ourselves: nothing is flushed, no deferred call runs.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}
