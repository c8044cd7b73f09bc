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
	want := append(Points(), DiskPoints()...)
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
	if os.Getenv("CRASHPOINT_CHILD") != "" {
		for i := range 4 {
			Here("other")
			os.Stdout.WriteString(string(rune('0' + i)))
			Here("this")
		}
		os.Exit(0)
	}
	for arm, want := range map[string]string{"this": "0", "this:3": "012", "": "0123", "neither": "0123", "this:9": "0123", "other:2": "0"} {
		cmd := exec.Command(os.Args[0], "-test.run", "TestKilledAtTheRightPassage")
		cmd.Env = append(os.Environ(), "CRASHPOINT_CHILD=1", Env+"="+arm)
		out, err := cmd.Output()
		var ee *exec.ExitError
		killed := errors.As(err, &ee) && ee.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL
		if string(out) != want || killed != (want != "0123") {
			t.Errorf("%q: came to %q, %v; want %q", arm, out, err, want)
		}
	}
}
