package index

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Report is what Verify found.
type Report struct {
	Files   int
	Runs    int
	Entries uint64
	Bytes   uint64
	Damage  []string // file, place and reason
}

// Verify reads every block of every run in dir and checks checksums and order.
// It changes nothing.
func Verify(fs vfs.FS, dir string) (Report, error) {
	var rep Report
	err := walk(fs, dir, func(x *Index, name string, sealed bool, rs []*run, err error) error {
		rep.Files++
		if err != nil {
			rep.Damage = append(rep.Damage, fmt.Sprintf("%s: %v", name, err))
			return nil
		}
		for _, r := range rs {
			rep.Runs++
			rep.Bytes += r.bodyLen
			n, err := verifyRun(x, r)
			rep.Entries += n
			if errors.Is(err, redoubt.ErrCorrupt) {
				rep.Damage = append(rep.Damage, fmt.Sprintf("%s: run at %d: %v", name, r.off, err))
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return rep, err
}

func verifyRun(x *Index, r *run) (uint64, error) {
	// The footer has a copy of the header, which is read by its place otherwise.
	if _, err := x.readHeader(known{runKey{r.Series, r.start, r.count}, r.spot()}); err != nil {
		return 0, err
	}
	s := x.stream(r)
	var n uint64
	var prev flat
	for {
		f, ok, err := s()
		if err != nil {
			return n, err
		}
		if !ok {
			break
		}
		if n > 0 && !before(&prev, &f) {
			return n, corrupt("entries out of order")
		}
		prev = f
		n++
	}
	if n != r.entries {
		return n, corrupt(fmt.Sprintf("%d entries instead of %d", n, r.entries))
	}
	return n, nil
}

// Dump writes a line per run to w.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	return walk(fs, dir, func(_ *Index, name string, sealed bool, rs []*run, err error) error {
		if _, werr := fmt.Fprintf(w, "file %s sealed=%v runs=%d\n", name, sealed, len(rs)); werr != nil {
			return werr
		}
		if err != nil {
			fmt.Fprintf(w, "  DAMAGE %v\n", err)
		}
		for _, r := range rs {
			fmt.Fprintf(w, "  run off=%-10d %s epoch=%d ordinals=[%d,%d) entries=%d bytes=%d\n", r.off, r.Group, r.Epoch, r.start, r.start+r.count, r.entries, r.bodyLen)
		}
		return nil
	})
}

func walk(fs vfs.FS, dir string, fn func(x *Index, name string, sealed bool, rs []*run, err error) error) error {
	numbers, err := runFiles.List(fs, dir)
	if err != nil {
		return &redoubt.Error{Op: "read index", Object: dir, Err: err}
	}
	for _, n := range numbers {
		name := runFiles.Name(dir, n)
		f, err := fs.OpenFile(name, os.O_RDONLY, 0)
		if err != nil {
			return &redoubt.Error{Op: "read index", Object: name, Err: err}
		}
		x := &Index{files: map[uint64]*file{n: {File: f}}}
		rs, _, sealed, err := scanFile(f, n)
		if err == nil || errors.Is(err, redoubt.ErrCorrupt) {
			err = fn(x, name, sealed, rs, err)
		}
		f.Close()
		if err != nil {
			return &redoubt.Error{Op: "read index", Object: name, Err: err}
		}
	}
	return nil
}
