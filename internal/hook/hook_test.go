package hook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// scripts returns a folder with these scripts; body by name.
func scripts(t *testing.T, body map[string]string) Dir {
	t.Helper()
	dir := t.TempDir()
	for name, b := range body {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+b), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return Dir(dir)
}

func find(t *testing.T, d Dir, name string) Script {
	t.Helper()
	s, err := d.Find(name)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRunTellsHowItWent(t *testing.T) {
	d := scripts(t, map[string]string{
		"good":   `echo "$1 $2"; echo "$REDOUBT_X" >&2; pwd; read x; env | sort`,
		"bad":    "echo disk is full; exit 3",
		"killed": "kill -9 $$",
	})
	r, err := find(t, d, "good").Run(t.Context(), Job{Args: []string{"freeze", "a b"}, Env: Environ("REDOUBT_X", "y=z", "BAD=NAME", "1"), Time: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	want := "freeze a b\ny=z\n/\nHOME=/\nLC_ALL=C.UTF-8\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\nPWD=/\nREDOUBT_X=y=z\n"
	if got := string(r.Output.Tail); got != want || r.Exit != 0 || r.TimedOut {
		t.Errorf("got %q, exit %d, want %q", got, r.Exit, want)
	}
	r, err = find(t, d, "bad").Run(t.Context(), Job{Time: time.Minute})
	if !errors.Is(err, redoubt.ErrScript) || r.Exit != 3 || !strings.Contains(err.Error(), "exit code 3") || redoubt.Hint(err) != "its last line: disk is full" {
		t.Errorf("exit 3: %v (%s), %+v", err, redoubt.Hint(err), r)
	}
	r, err = find(t, d, "killed").Run(t.Context(), Job{Time: time.Minute})
	if !errors.Is(err, redoubt.ErrScript) || r.Exit != -1 || r.TimedOut {
		t.Errorf("killed: %v, %+v", err, r)
	}
}

// TestLimitEndsTheWholeGroup has a script whose child ignores SIGTERM and holds
// the output open: neither may outlive the limit.
func TestLimitEndsTheWholeGroup(t *testing.T) {
	d := scripts(t, map[string]string{"hangs": `trap "" TERM; sleep 1000 & echo $!; echo $$; sleep 1000`})
	for name, cancelled := range map[string]bool{"limit": false, "caller": true} {
		t.Run(name, func(t *testing.T) {
			var pids []string
			// A script that had no turn before the limit has shown nothing.
			for limit := 100 * time.Millisecond; len(pids) != 2; limit *= 2 {
				ctx, cancel := context.WithCancelCause(t.Context())
				j := Job{Time: limit, Grace: 100 * time.Millisecond, Leave: true}
				if cancelled {
					j.Time = time.Hour
					time.AfterFunc(limit, func() { cancel(errors.New("enough")) })
				}
				r, err := find(t, d, "hangs").Run(ctx, j)
				cancel(nil)
				pids = strings.Fields(string(r.Output.Tail))
				if !errors.Is(err, redoubt.ErrScript) || !r.TimedOut || cancelled != strings.Contains(err.Error(), "enough") || limit > time.Minute {
					t.Fatalf("limit %s: %v, %+v", limit, err, r)
				}
			}
			for _, p := range pids {
				pid, _ := strconv.Atoi(p)
				gone(t, pid)
			}
		})
	}
}

// gone waits until the process has ended: init reaps orphans in its own time.
func gone(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || bytes.Contains(b, []byte(") Z ")) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("process %d lives on", pid)
}

func TestWhatAScriptLeavesBehind(t *testing.T) {
	d := scripts(t, map[string]string{"leaves": "sleep 1000 >/dev/null 2>&1 & echo $!"})
	r, err := find(t, d, "leaves").Run(t.Context(), Job{Time: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(r.Output.Tail)))
	gone(t, pid)
	r, err = find(t, d, "leaves").Run(t.Context(), Job{Time: time.Minute, Leave: true})
	if err != nil {
		t.Fatal(err)
	}
	pid, _ = strconv.Atoi(strings.TrimSpace(string(r.Output.Tail)))
	if err := syscall.Kill(pid, 0); err != nil {
		t.Errorf("Leave: process %d is gone: %v", pid, err)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

func TestOutputIsBounded(t *testing.T) {
	d := scripts(t, map[string]string{"loud": "seq 1 200000"})
	r, err := find(t, d, "loud").Run(t.Context(), Job{Time: time.Minute, Output: 100})
	if err != nil {
		t.Fatal(err)
	}
	var all bytes.Buffer
	for i := 1; i <= 200000; i++ {
		fmt.Fprintln(&all, i)
	}
	b := all.Bytes()
	o := r.Output
	if !bytes.Equal(o.Tail, b[len(b)-100:]) || o.Bytes != uint64(len(b)) || o.Digest != sha256.Sum256(b) || !o.Truncated() || o.LastLine() != "200000" {
		t.Errorf("tail %q, %d bytes, last line %q", o.Tail, o.Bytes, o.LastLine())
	}
}

func TestOnlyTheAdministratorsScriptsRun(t *testing.T) {
	d := scripts(t, map[string]string{"20-b": "", "10-a": "", "open": "", "theirs": ""})
	write := func(name string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(string(d), name), []byte("#!/bin/sh\n"), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("README", 0o644)
	write(".hidden", 0o755)
	if err := os.Mkdir(filepath.Join(string(d), "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	refused := func(name string, want error) {
		t.Helper()
		if _, err := d.Find(name); !errors.Is(err, want) || redoubt.Hint(err) == "" {
			t.Errorf("%q: %v (%s), want %v", name, err, redoubt.Hint(err), want)
		}
	}
	for _, n := range []string{"../x", "a/b", "..", "", "a b"} {
		refused(n, redoubt.ErrInvalid)
	}
	refused("none", redoubt.ErrNotFound)
	refused("README", redoubt.ErrInvalid)
	refused("folder", redoubt.ErrInvalid)

	for _, n := range []string{"open", "theirs"} {
		find(t, d, n)
	}
	if err := os.Chmod(filepath.Join(string(d), "open"), 0o775); err != nil {
		t.Fatal(err)
	}
	refused("open", redoubt.ErrDenied)
	if _, err := d.All(); !errors.Is(err, redoubt.ErrDenied) {
		t.Errorf("a script that others may write was passed over: %v", err)
	}
	_ = os.Remove(filepath.Join(string(d), "open"))
	if os.Geteuid() == 0 {
		if err := os.Chown(filepath.Join(string(d), "theirs"), 65534, 65534); err != nil {
			t.Fatal(err)
		}
		refused("theirs", redoubt.ErrDenied)
	}
	_ = os.Remove(filepath.Join(string(d), "theirs"))
	if err := os.Symlink("/bin/true", filepath.Join(string(d), "link")); err != nil {
		t.Fatal(err)
	}
	refused("link", redoubt.ErrInvalid)
	if err := os.Symlink("nowhere", filepath.Join(string(d), ".link")); err != nil {
		t.Fatal(err)
	}
	write("README~", 0o644)
	// What was meant to run is not left out without a word.
	if all, err := d.All(); !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
		t.Errorf("a link was passed over: %v, %v", all, err)
	}
	_ = os.Remove(filepath.Join(string(d), "link"))
	write("30-c d", 0o755)
	if all, err := d.All(); !errors.Is(err, redoubt.ErrInvalid) || redoubt.Hint(err) == "" {
		t.Errorf("a script with a bad name was passed over: %v, %v", all, err)
	}
	_ = os.Remove(filepath.Join(string(d), "30-c d"))

	all, err := d.All()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, s := range all {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"10-a", "20-b"}) {
		t.Errorf("scripts %v", names)
	}
	if err := os.Chmod(string(d), 0o777); err != nil {
		t.Fatal(err)
	}
	refused("10-a", redoubt.ErrDenied)
	if _, err := Dir("rel").Find("x"); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("relative folder: %v", err)
	}
}

// A folder that cannot be read is not an empty one.
func TestAFolderThatCannotBeReadIsSaid(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := fileNames(f); err != nil || len(names) != 0 {
		t.Errorf("an empty folder: %q, %v", names, err)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(dir); err != nil { // the kernel refuses to list it from now on
		t.Fatal(err)
	}
	if names, err := fileNames(f); err == nil {
		t.Errorf("a folder that is gone: %q", names)
	}
}
