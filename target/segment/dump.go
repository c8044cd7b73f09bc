package segment

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
	Shards  int
	Deleted int
	Bytes   int64
	Damage  []Damage
}

// Verify reads every record of the shard log in dir and checks all of its
// checksums. It changes nothing and may run beside the daemon; a record that is
// being written then looks like a torn tail and is not reported.
func Verify(fs vfs.FS, dir string) (Report, error) {
	var r Report
	err := walk(fs, dir, func(name string, _ uint64, f vfs.File, s *scan) error {
		r.Files++
		r.Bytes += s.end
		for _, d := range s.damage {
			d.File = name
			r.Damage = append(r.Damage, d)
		}
		for _, h := range s.headers {
			if h.Type == typeTombstone {
				r.Deleted++
				continue
			}
			r.Shards++
			full, err := readHeader(f, h.File, h.Offset, h.Offset+int64(h.Len)+int64(h.HeadLen)+int64(h.ShardLen))
			if err == nil {
				err = checkBody(f, full)
			}
			if errors.Is(err, redoubt.ErrCorrupt) {
				r.Damage = append(r.Damage, Damage{File: name, Off: h.Offset, Len: h.total(), Reason: h.ID.String() + ": " + err.Error()})
			} else if err != nil {
				return err
			}
		}
		return nil
	})
	return r, err
}

// Dump writes a line per record to w.
func Dump(fs vfs.FS, dir string, w io.Writer) error {
	return walk(fs, dir, func(name string, n uint64, f vfs.File, s *scan) error {
		if _, err := fmt.Fprintf(w, "file %s sealed=%v footer=%d records=%d end=%d\n", name, s.sealed, s.version, len(s.headers), s.end); err != nil {
			return err
		}
		for _, d := range s.damage {
			fmt.Fprintf(w, "  DAMAGE off=%d len=%d %s\n", d.Off, d.Len, d.Reason)
		}
		for _, h := range s.headers {
			kind := "shard"
			if h.Type == typeTombstone {
				kind = "deleted"
			}
			if _, err := fmt.Fprintf(w, "  %-7s off=%-10d %s uuid=%s k=%d m=%d delta=%d head=%d shard=%d\n",
				kind, h.Offset, h.ID, h.UUID, h.K, h.M, h.Size, h.HeadLen, h.ShardLen); err != nil {
				return err
			}
		}
		return nil
	})
}

func walk(fs vfs.FS, dir string, fn func(name string, n uint64, f vfs.File, s *scan) error) error {
	numbers, err := logFiles.List(fs, dir)
	if err != nil {
		return &redoubt.Error{Op: "read shard log", Object: dir, Err: err}
	}
	if len(numbers) == 0 {
		return &redoubt.Error{Op: "read shard log", Object: dir, Err: redoubt.ErrNotFound, Hint: "there are no *.shards files; a node's are in DATA_DIR/target/shards"}
	}
	for _, n := range numbers {
		name := logFiles.Name(dir, n)
		err := func() error {
			f, err := fs.OpenFile(name, os.O_RDONLY, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			size, err := f.Size()
			if err != nil {
				return err
			}
			s, err := scanFile(f, n, size)
			if err != nil {
				return err
			}
			if s.headerErr != nil {
				s.damage = append(s.damage, Damage{Off: 0, Len: sector, Reason: s.headerErr.Error()})
			}
			return fn(name, n, f, s)
		}()
		if err != nil {
			return &redoubt.Error{Op: "read shard log", Object: name, Err: err}
		}
	}
	return nil
}
