// Package crashpoint ends the process at a named point, as kill -9 would: for
// tests of what a crash between two steps leaves behind.
//
// REDOUBT_CRASH_AT=NAME or NAME:N kills it at the first, or N-th, passage of
// the point. Without the variable a point costs one comparison.
package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
)

// Env is the variable that arms a point.
const Env = "REDOUBT_CRASH_AT"

type armed struct {
	name string
	left atomic.Int64
}

// arm reads the variable once.
var arm = sync.OnceValue(func() *armed {
	name, n := parse(os.Getenv(Env))
	a := &armed{name: name}
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
	if a := arm(); a.name != "" && a.name == name && a.left.Add(-1) == 0 {
		die()
	}
}

// die is SIGKILL to ourselves: nothing is flushed, no deferred call runs.
func die() {
	_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {} // until it arrives
}
