package handover

import (
	"slices"
	"strconv"
	"strings"

	"github.com/coreos/go-systemd/v22/activation"
	"golang.org/x/sys/unix"
)

// Inherited is what this process was given. It is for one goroutine.
type Inherited struct {
	State
	stored []string // names in the service manager's store
}

// Inherit takes what the life before this one, or the service manager, left
// for this process, and clears the environment of it. With an error, which means
// that the state could not be read, it returns what came besides.
func Inherit() (*Inherited, error) {
	in := &Inherited{}
	if fds := execFDs(); fds != nil {
		return in, in.take(fds[0], fds[1:])
	}
	state, fds := -1, []int{}
	for _, f := range activation.Files(true) {
		// A File closes its descriptor when it is collected: go on with another.
		fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
		name := f.Name()
		f.Close()
		if err != nil {
			continue
		}
		rest, ours := strings.CutPrefix(name, storePrefix)
		if ours && !slices.Contains(in.stored, name) {
			in.stored = append(in.stored, name)
		}
		switch i, err := strconv.Atoi(rest); {
		case name == stateName && state < 0:
			state = fd
		case ours && err == nil && i >= 0 && i < 2*maxCount:
			for len(fds) <= i {
				fds = append(fds, -1)
			}
			closeFD(&fds[i])
			fds[i] = fd
		default:
			in.activated(fd)
		}
	}
	return in, in.take(state, fds)
}

// activated notes a socket that the service manager listens on.
func (in *Inherited) activated(fd int) {
	if key, ok := boundTo(fd); ok {
		in.Listeners = append(in.Listeners, Listener{Key: key, FD: fd})
	} else {
		unix.Close(fd)
	}
}

// take reads the state and gives its sockets their descriptors.
func (in *Inherited) take(state int, fds []int) error {
	if state < 0 {
		closeAll(fds)
		return nil
	}
	s, err := readMemfd(state)
	if err != nil {
		closeAll(fds)
		return err
	}
	s.setFDs(fds)
	in.Listeners = append(in.Listeners, s.Listeners...)
	in.Conns = s.Conns
	return nil
}

// Claim makes what was inherited this process's own: the service manager
// forgets it. It comes when the disks are open and before the first byte is read
// from a connection: a life that fails before leaves all to the next one, and one
// that ends later nothing, because what it had read would be missing. After an
// error the connections must be ended.
func (in *Inherited) Claim() error {
	names := in.stored
	in.stored = nil
	return unstore(names)
}
