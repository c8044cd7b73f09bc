package hook

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/redoubt-dr/redoubt"
)

// MaxScripts is the largest number of scripts in one folder.
const MaxScripts = 256

// Dir is the path of a folder of scripts; it is absolute.
type Dir string

// Script is a program in a Dir that was found safe to run.
type Script struct {
	Name string // of the file; valid by redoubt.ValidName
	Path string
}

// Find returns the script of that name. ErrInvalid for what is no name of a
// file, ErrNotFound if there is none, ErrDenied if somebody else than the
// administrator could have written it.
func (d Dir) Find(name string) (Script, error) {
	if err := redoubt.ValidName("script", name); err != nil {
		return Script{}, err
	}
	if err := d.check(); err != nil {
		return Script{}, err
	}
	return d.script(name)
}

// All returns the scripts of the folder, by name: the order in which they run.
// Hidden files, folders and files that are not executable are passed over. One
// that was meant to run and cannot is an error: it is not safe, its name is not
// valid, or it is a link.
func (d Dir) All() ([]Script, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	f, err := os.Open(string(d))
	if err != nil {
		return nil, bad("read scripts", string(d), err, "")
	}
	defer func() { _ = f.Close() }()
	names, err := fileNames(f)
	if err != nil {
		return nil, bad("read scripts", string(d), err, "")
	}
	var out []Script
	for _, n := range names {
		if strings.HasPrefix(n, ".") {
			continue
		}
		s, err := d.script(n)
		if errors.Is(err, errNotExecutable) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := redoubt.ValidName("script", n); err != nil {
			return nil, bad("read scripts", s.Path, err, "rename it, such as 10-database, or take its executable bits away if it is not meant to run")
		}
		out = append(out, s)
	}
	if len(names) == 4*MaxScripts || len(out) > MaxScripts {
		return nil, bad("read scripts", string(d), fmt.Errorf("more than %d: %w", MaxScripts, redoubt.ErrInvalid), "")
	}
	return out, nil
}

// fileNames returns what is in the folder, at most 4*MaxScripts of it, in order.
func fileNames(f *os.File) ([]string, error) {
	names, err := f.Readdirnames(4 * MaxScripts)
	if errors.Is(err, io.EOF) { // it is empty
		err = nil
	}
	slices.Sort(names)
	return names, err
}

var errNotExecutable = fmt.Errorf("not an executable file: %w", redoubt.ErrInvalid)

func (d Dir) script(name string) (Script, error) {
	s := Script{Name: name, Path: filepath.Join(string(d), name)}
	st, err := os.Lstat(s.Path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Script{}, bad("find script", s.Path, redoubt.ErrNotFound, "put it there, executable, owned by root")
	case err != nil:
		return Script{}, bad("find script", s.Path, err, "")
	case st.Mode()&fs.ModeSymlink != 0:
		return Script{}, bad("find script", s.Path, fmt.Errorf("it is a link: %w", redoubt.ErrInvalid), "put a copy of the script there, or a script of one line that calls it")
	case !st.Mode().IsRegular() || st.Mode().Perm()&0o111 == 0:
		return Script{}, bad("find script", s.Path, errNotExecutable, "a script is a regular file with mode 0755, no link")
	}
	return s, safe(s.Path, st)
}

// check refuses a folder that somebody else could change, or could replace by
// changing a folder above it.
func (d Dir) check() error {
	if !filepath.IsAbs(string(d)) {
		return bad("use script folder", string(d), fmt.Errorf("no absolute path: %w", redoubt.ErrInvalid), "")
	}
	for p := filepath.Clean(string(d)); ; p = filepath.Dir(p) {
		st, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return bad("use script folder", p, redoubt.ErrNotFound, "make it, owned by root, mode 0755")
		}
		if err != nil {
			return bad("use script folder", p, err, "")
		}
		if !st.IsDir() {
			return bad("use script folder", p, fmt.Errorf("no folder: %w", redoubt.ErrInvalid), "")
		}
		if sticky := p != filepath.Clean(string(d)) && st.Mode()&fs.ModeSticky != 0; !sticky {
			if err := safe(p, st); err != nil {
				return err
			}
		}
		if p == "/" {
			return nil
		}
	}
}

// safe refuses what another user than root or the daemon's own could change.
func safe(path string, st fs.FileInfo) error {
	sys, ok := st.Sys().(*syscall.Stat_t)
	switch {
	case !ok:
		return bad("check owner of", path, redoubt.ErrDenied, "the file system tells no owner")
	case sys.Uid != 0 && int(sys.Uid) != os.Geteuid():
		return bad("use script", path, fmt.Errorf("it belongs to user %d: %w", sys.Uid, redoubt.ErrDenied), "chown root it: whoever owns it decides what the daemon runs")
	case st.Mode().Perm()&0o022 != 0:
		return bad("use script", path, fmt.Errorf("mode %04o lets others write: %w", st.Mode().Perm(), redoubt.ErrDenied), "chmod go-w it")
	}
	return nil
}

func bad(op, object string, err error, hint string) error {
	return &redoubt.Error{Op: op, Object: object, Err: err, Hint: hint}
}
