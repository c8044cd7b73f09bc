package crashpoint

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Every named point is in the list, once in the code, and nothing else is.
func TestPointsAreListed(t *testing.T) {
	call := regexp.MustCompile(`crashpoint\.Here\("([^"]*)"\)`)
	var found []string
	err := filepath.WalkDir("../..", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || filepath.Ext(p) != ".go" || strings.HasSuffix(p, "_test.go") {
			return err
		}
		b, err := os.ReadFile(p)
		for _, m := range call.FindAllStringSubmatch(string(b), -1) {
			found = append(found, m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(Points(), DiskPoints(), CommitPoints())
	slices.Sort(want)
	slices.Sort(found)
	if !slices.Equal(want, found) {
		t.Errorf("listed:   %v\nin code:  %v", want, found)
	}
	for _, p := range found {
		t.Log(p)
	}
}

// The process is killed at the N-th passage of the point that is armed, and at no other.
func TestKilledAtTheRightPassage(t *testing.T) {
	asChild()
	for arm, want := range map[string]string{"this": "0", "this:3": "012", "": "0123", "neither": "0123", "this:9": "0123", "other:2": "0"} {
		out, killed := child(t, Env+"="+arm)
		if out != want || killed != (want != "0123") {
			t.Errorf("%q: came to %q, killed: %v; want %q", arm, out, killed, want)
		}
	}
}

// A file arms a point of a process that runs, once.
func TestArmedByAFile(t *testing.T) {
	asChild()
	path := filepath.Join(t.TempDir(), "point")
	for arm, want := range map[string]string{"this": "0", "neither": "0123", "thi": "0123", "": "0123"} {
		if err := os.WriteFile(path, []byte(arm), 0o600); err != nil {
			t.Fatal(err)
		}
		out, killed := child(t, EnvFile+"="+path)
		_, err := os.Stat(path)
		if gone := errors.Is(err, fs.ErrNotExist); out != want || killed != (want != "0123") || gone != killed {
			t.Errorf("%q: came to %q, killed: %v, file gone: %v; want %q", arm, out, killed, gone, want)
		}
		if killed {
			if out, killed := child(t, EnvFile+"="+path); killed {
				t.Errorf("the next life was killed, too, at %q", out)
			}
		}
	}
}

// asChild passes points and ends, in a process that child has started.
func asChild() {
	if os.Getenv("CRASHPOINT_CHILD") == "" {
		return
	}
	for i := range 4 {
		Here("other")
		os.Stdout.WriteString(string(rune('0' + i)))
		Here("this")
	}
	os.Exit(0)
}

// child runs the calling test in a process of its own, with one variable more.
func child(t *testing.T, env string) (out string, killed bool) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run", "^"+t.Name()+"$")
	cmd.Env = append(os.Environ(), "CRASHPOINT_CHILD=1", env)
	b, err := cmd.Output()
	var ee *exec.ExitError
	if err != nil && !errors.As(err, &ee) {
		t.Fatal(err)
	}
	return string(b), ee != nil && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
}
