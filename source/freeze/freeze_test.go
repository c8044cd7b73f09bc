package freeze

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
)

// rig is a folder for the note, and a folder of scripts that write what they
// are called with into a log.
type rig struct {
	t    *testing.T
	log  string
	opts Options
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, log: filepath.Join(dir, "log")}
	scripts := filepath.Join(dir, "hooks")
	if err := os.Mkdir(scripts, 0o755); err != nil {
		t.Fatal(err)
	}
	r.opts = Options{Group: "db", Scripts: hook.Dir(scripts), Step: time.Minute, Hold: time.Minute, Note: filepath.Join(dir, "frozen.json")}
	return r
}

func (r *rig) script(name, body string) {
	r.t.Helper()
	text := fmt.Sprintf("#!/bin/sh\necho \"$1 %s $2 $3\" >>%s\n%s", name, r.log, body)
	if err := os.WriteFile(filepath.Join(string(r.opts.Scripts), name), []byte(text), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) open() *Freezer {
	r.t.Helper()
	f, err := Open(r.opts)
	if err != nil {
		r.t.Fatal(err)
	}
	return f
}

func (r *rig) wantLog(want ...string) {
	r.t.Helper()
	b, _ := os.ReadFile(r.log)
	if got := strings.TrimSpace(string(b)); got != strings.Join(want, "\n") {
		r.t.Errorf("the scripts were called\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

// wantNote checks whether the note of what is frozen is there.
func (r *rig) wantNote(there bool) {
	r.t.Helper()
	if _, err := os.Stat(r.opts.Note); (err == nil) != there {
		r.t.Errorf("note: %v, want it there: %v", err, there)
	}
}

// ext4 mounts a small file system of its own.
func ext4(t *testing.T) (mount string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount and freeze a file system")
	}
	dir := t.TempDir()
	image := filepath.Join(dir, "image")
	mount = filepath.Join(dir, "mount")
	for _, c := range [][]string{{"truncate", "-s", "16M", image}, {"mkfs.ext4", "-q", image}, {"mkdir", mount}, {"mount", "-o", "loop", image, mount}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("this host cannot mount an ext4 image: %v: %v: %s", c, err, out)
		}
	}
	t.Cleanup(func() {
		_ = thawMount(mount)
		if out, err := exec.Command("umount", mount).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return mount
}

// frozen asks the kernel: what is frozen cannot be frozen again.
func frozen(t *testing.T, mount string) bool {
	t.Helper()
	err := freezeMount(mount)
	switch {
	case errors.Is(err, unix.EBUSY):
		return true
	case err != nil:
		t.Fatal(err)
	}
	if err := thawMount(mount); err != nil {
		t.Fatal(err)
	}
	return false
}

func TestScriptsAndMountsFreezeInOrderAndThawInReverse(t *testing.T) {
	r := newRig(t)
	mount := ext4(t)
	r.opts.Mounts = []string{mount}
	r.script("10-a", "")
	r.script("20-b", "")
	f := r.open()
	z, _, err := f.Freeze(t.Context(), "nightly")
	if err != nil {
		t.Fatal(err)
	}
	r.wantLog("freeze 10-a db nightly", "freeze 20-b db nightly")
	r.wantNote(true)
	if _, on := f.Frozen(); !on || !frozen(t, mount) || z.Check() != nil {
		t.Errorf("not everything is frozen: %v", z.Check())
	}
	rep := z.Thaw()
	r.wantLog("freeze 10-a db nightly", "freeze 20-b db nightly", "thaw 20-b db nightly", "thaw 10-a db nightly")
	r.wantNote(false)
	if _, on := f.Frozen(); on || frozen(t, mount) || z.Check() == nil {
		t.Error("something is still frozen")
	}
	var what []string
	for _, s := range rep.Steps {
		what = append(what, s.What)
	}
	want := []string{"freeze script 10-a", "freeze script 20-b", "freeze mount " + mount, "thaw mount " + mount, "thaw script 20-b", "thaw script 10-a"}
	if strings.Join(what, "\n") != strings.Join(want, "\n") || rep.Err != nil || rep.Frozen <= 0 {
		t.Errorf("report %+v", rep)
	}
	if z, _, err := f.Freeze(t.Context(), "again"); err != nil {
		t.Errorf("a second time: %v", err)
	} else {
		z.Thaw()
	}
}

func TestWhatBeganToFreezeIsThawedAfterAFailure(t *testing.T) {
	r := newRig(t)
	r.script("10-a", "")
	r.script("20-b", `[ "$1" = thaw ] || { echo no room; exit 1; }`)
	r.script("30-c", "")
	_, rep, err := r.open().Freeze(t.Context(), "x")
	if !errors.Is(err, redoubt.ErrScript) || !strings.Contains(redoubt.Hint(err), "no room") || rep.Err != nil {
		t.Errorf("%v (%s), %+v", err, redoubt.Hint(err), rep)
	}
	r.wantLog("freeze 10-a db x", "freeze 20-b db x", "thaw 20-b db x", "thaw 10-a db x")
	r.wantNote(false)
}

func TestASlowHookIsThawed(t *testing.T) {
	r := newRig(t)
	r.opts.Step = 200 * time.Millisecond
	r.script("10-a", `[ "$1" = thaw ] || exec sleep 1000`)
	_, _, err := r.open().Freeze(t.Context(), "x")
	if !errors.Is(err, redoubt.ErrScript) {
		t.Error(err)
	}
	r.wantLog("freeze 10-a db x", "thaw 10-a db x")
	r.wantNote(false)
}

// TestTheWatchdogThaws has a caller that never comes back.
func TestTheWatchdogThaws(t *testing.T) {
	r := newRig(t)
	mount := ext4(t)
	r.opts.Mounts, r.opts.Step, r.opts.Hold = []string{mount}, 300*time.Millisecond, 300*time.Millisecond
	f := r.open()
	z, _, err := f.Freeze(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	for on := true; on; _, on = f.Frozen() {
		time.Sleep(10 * time.Millisecond) // the test's own time limit ends it
	}
	if err := z.Check(); !errors.Is(err, redoubt.ErrScript) {
		t.Errorf("Check: %v", err)
	}
	if frozen(t, mount) {
		t.Error("the file system is still frozen")
	}
	r.wantNote(false)
}

func TestCloseThaws(t *testing.T) {
	r := newRig(t)
	r.script("10-a", "")
	f := r.open()
	z, _, err := f.Freeze(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil || z.Check() == nil {
		t.Errorf("%v, %v", err, z.Check())
	}
	r.wantLog("freeze 10-a db x", "thaw 10-a db x")
	if _, _, err := f.Freeze(t.Context(), "y"); !errors.Is(err, redoubt.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

// TestTheNextStartThawsWhatAKilledOneFroze kills a process that has frozen a
// file system and called a script, with SIGKILL.
func TestTheNextStartThawsWhatAKilledOneFroze(t *testing.T) {
	const env = "REDOUBT_TEST_FREEZE"
	if spec := os.Getenv(env); spec != "" {
		p := strings.Split(spec, "|")
		f, err := Open(Options{Group: "db", Scripts: hook.Dir(p[0]), Note: p[1], Mounts: []string{p[2]}, Step: time.Minute, Hold: time.Hour})
		if err == nil {
			_, _, err = f.Freeze(t.Context(), "x")
		}
		fmt.Println("frozen:", err)
		select {}
	}
	r := newRig(t)
	mount := ext4(t)
	r.opts.Mounts = []string{mount}
	r.script("10-a", "")
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), env+"="+string(r.opts.Scripts)+"|"+r.opts.Note+"|"+mount)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	text := ""
	for buf := make([]byte, 1000); !strings.Contains(text, "frozen: <nil>\n"); {
		n, err := out.Read(buf)
		if text += string(buf[:n]); err != nil {
			t.Fatalf("the other process: %v: %s", err, text)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	r.wantNote(true)
	if !frozen(t, mount) {
		t.Fatal("the file system is not frozen: the test shows nothing")
	}
	r.open()
	if frozen(t, mount) {
		t.Error("the file system is still frozen")
	}
	r.wantLog("freeze 10-a db x", "thaw 10-a db x")
	r.wantNote(false)
}

func TestMountsThatAreNeverFrozen(t *testing.T) {
	mount := ext4(t)
	try := func(o func(r *rig)) error {
		r := newRig(t)
		r.opts.Scripts, r.opts.Mounts = "", []string{mount}
		o(r)
		z, _, err := r.open().Freeze(t.Context(), "x")
		if err == nil {
			z.Thaw()
		}
		r.wantNote(false)
		return err
	}
	if err := try(func(*rig) {}); err != nil {
		t.Fatal(err)
	}
	if err := try(func(r *rig) { r.opts.Own = []string{filepath.Join(mount, "journal", "not", "there")} }); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("the daemon's own journal lies on it: %v", err)
	}
	if err := try(func(r *rig) { r.opts.Mounts = []string{filepath.Join(mount, "lost+found")} }); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("a folder: %v", err)
	}
	if err := try(func(r *rig) { r.opts.Mounts = []string{"/"} }); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("the root: %v", err)
	}
	if err := freezeMount(mount); err != nil {
		t.Fatal(err)
	}
	if err := try(func(*rig) {}); !errors.Is(err, unix.EBUSY) {
		t.Errorf("frozen by somebody else: %v", err)
	}
	if !frozen(t, mount) {
		t.Error("what somebody else had frozen was thawed")
	}
}

func TestADamagedNoteIsSaid(t *testing.T) {
	r := newRig(t)
	for text, want := range map[string]error{"{": redoubt.ErrCorrupt, `{"version":2}`: redoubt.ErrVersion} {
		if err := os.WriteFile(r.opts.Note, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(r.opts); !errors.Is(err, want) || redoubt.Hint(err) == "" {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// TestAScriptThatEndsAfterTheThawIsThawedAgain has a script that does not heed
// SIGTERM, and freezes after everything was thawed.
func TestAScriptThatEndsAfterTheThawIsThawedAgain(t *testing.T) {
	for name, stop := range map[string]func(*testing.T, *Freezer){
		"the daemon ends": func(t *testing.T, f *Freezer) {
			if err := f.Close(); err != nil {
				t.Error(err)
			}
		},
		"the hold is over": func(*testing.T, *Freezer) {},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			at, begun := filepath.Join(t.TempDir(), "rest"), filepath.Join(t.TempDir(), "begun")
			r.script("10-a", fmt.Sprintf("trap '' TERM\nif [ $1 = freeze ]; then touch %s; sleep 2; touch %s; else rm -f %s; fi\n", begun, at, at))
			if name == "the hold is over" {
				r.opts.Step, r.opts.Hold = time.Second, time.Second
			}
			f := r.open()
			done := make(chan error)
			go func() {
				_, _, err := f.Freeze(t.Context(), "x")
				done <- err
			}()
			for _, err := os.Stat(begun); err != nil; _, err = os.Stat(begun) {
				time.Sleep(5 * time.Millisecond)
			}
			stop(t, f)
			if err := <-done; !errors.Is(err, redoubt.ErrScript) {
				t.Errorf("Freeze: %v", err)
			}
			if _, err := os.Stat(at); err == nil {
				t.Error("the application is still at rest")
			}
			for _, on := f.Frozen(); on; _, on = f.Frozen() {
				time.Sleep(5 * time.Millisecond)
			}
			r.wantNote(false)
		})
	}
}

// TestAThawScriptThatIsGoneIsNotForgotten: the next start thaws, once it is back.
func TestAThawScriptThatIsGoneIsNotForgotten(t *testing.T) {
	r := newRig(t)
	if err := (&note{Version: 1, Group: "db", Name: "x", Scripts: []string{"10-a"}}).save(r.opts.Note); err != nil {
		t.Fatal(err)
	}
	if f, err := Open(r.opts); f == nil || !errors.Is(err, redoubt.ErrNotFound) || redoubt.Hint(err) == "" {
		t.Errorf("without it: %v", err)
	}
	r.wantNote(true)
	r.script("10-a", "")
	r.open()
	r.wantLog("thaw 10-a db x")
	r.wantNote(false)
}
