package handover

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// memfd puts the state into a file that is nowhere in a file system, and seals it.
func (s *State) memfd() (int, error) {
	b, err := s.encode()
	if err != nil {
		return -1, err
	}
	fail := func(err error) (int, error) {
		return -1, &redoubt.Error{Op: "hand over", Err: err}
	}
	fd, err := unix.MemfdCreate("redoubt-state", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return fail(err)
	}
	for off := 0; off < len(b); {
		n, err := unix.Pwrite(fd, b[off:], int64(off))
		if err != nil {
			unix.Close(fd)
			return fail(err)
		}
		off += n
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_GROW|unix.F_SEAL_SHRINK); err != nil {
		unix.Close(fd)
		return fail(err)
	}
	return fd, nil
}

// readMemfd reads a state and closes fd.
func readMemfd(fd int) (*State, error) {
	f := os.NewFile(uintptr(fd), "redoubt-state")
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, &redoubt.Error{Op: "take over", Err: err}
	}
	if !st.Mode().IsRegular() || st.Size() > maxState {
		return nil, &redoubt.Error{Op: "take over", Err: fmt.Errorf("state of %d bytes, %v: %w", st.Size(), st.Mode(), redoubt.ErrCorrupt)}
	}
	b := make([]byte, st.Size())
	if _, err := io.ReadFull(io.NewSectionReader(f, 0, st.Size()), b); err != nil {
		return nil, &redoubt.Error{Op: "take over", Err: err}
	}
	return decode(b)
}
