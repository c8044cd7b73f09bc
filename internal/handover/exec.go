package handover

import (
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// execEnv names the descriptors in the environment of the next life, comma
// separated: first that of the state, then those of its sockets.
const execEnv = "REDOUBT_HANDOVER"

// Exec replaces this program by bin, in the same process, and gives it s. It
// returns only on failure; s is whole then and still the caller's. SIGHUP
// is ignored until the next life asks for it: its default is death.
func (s *State) Exec(bin string, args []string) error {
	fail := func(err error) error {
		return &redoubt.Error{Op: "start", Object: bin, Err: err}
	}
	state, err := s.memfd()
	if err != nil {
		return err
	}
	defer unix.Close(state)
	fds := append([]int{state}, s.fds()...)
	var names []string
	for _, fd := range fds {
		names = append(names, strconv.Itoa(fd))
	}
	if err := inheritable(fds, true); err != nil {
		return fail(err)
	}
	signal.Ignore(unix.SIGHUP)
	err = syscall.Exec(bin, args, append(os.Environ(), execEnv+"="+strings.Join(names, ",")))
	_ = inheritable(fds, false)
	return fail(err)
}

// inheritable says whether descriptors survive exec.
func inheritable(fds []int, yes bool) error {
	flags := unix.FD_CLOEXEC
	if yes {
		flags = 0
	}
	for _, fd := range fds {
		if fd < 0 {
			continue
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flags); err != nil {
			return err
		}
	}
	return nil
}

// execFDs returns what the life before this one left in the environment.
func execFDs() []int {
	v := os.Getenv(execEnv)
	os.Unsetenv(execEnv)
	if v == "" {
		return nil
	}
	var fds []int
	for _, name := range strings.Split(v, ",") {
		fd, err := strconv.Atoi(name)
		if err != nil || fd < 3 {
			fd = -1
		}
		fds = append(fds, fd)
	}
	_ = inheritable(fds, false)
	return fds
}
