package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt/internal/hook"
)

// example runs a script of packaging/checks against an image, as a check does.
func example(t *testing.T, name, image string) (hook.Result, error) {
	t.Helper()
	for _, p := range []string{"nbdkit", "nbdfuse", "e2fsck", "sqlite3"} {
		if _, err := exec.LookPath(p); err != nil || os.Geteuid() != 0 {
			t.Skipf("needs root, nbdkit, nbdfuse, e2fsprogs and sqlite3: %v", err)
		}
	}
	dir, err := os.MkdirTemp("", "ck") // short, because of the socket
	if err != nil {
		t.Fatal(err)
	}
	sock := filepath.Join(dir, "s")
	kit := exec.Command("nbdkit", "--exit-with-parent", "-f", "-U", sock, "file", image)
	if err := kit.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = kit.Process.Kill(); _ = kit.Wait() }()
	for _, err := os.Stat(sock); err != nil; _, err = os.Stat(sock) {
		time.Sleep(5 * time.Millisecond)
	}
	scratch := filepath.Join(dir, "scratch")
	if err := os.Mkdir(scratch, 0o700); err != nil {
		t.Fatal(err)
	}
	// The folder of a checkout belongs to anybody; that of a node does not.
	b, err := os.ReadFile(filepath.Join("../../packaging/checks", name))
	if err != nil {
		t.Fatal(err)
	}
	scripts := t.TempDir()
	if err := os.WriteFile(filepath.Join(scripts, name), b, 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := hook.Dir(scripts).Find(name)
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.Run(t.Context(), hook.Job{Time: time.Minute, Env: hook.Environ("REDOUBT_DISKS", "1", "REDOUBT_DISK_1_NAME", "root",
		"REDOUBT_DISK_1_URI", "nbd+unix:///root?socket="+sock, "REDOUBT_SCRATCH", scratch)})
	if derr := dropScratch(dir); derr != nil {
		t.Errorf("scratch: %v", derr)
	}
	t.Logf("%s: %v\n%s", name, err, r.Output.Tail)
	return r, err
}

// ext4Image holds an ext4 file system with a sqlite database.
func ext4Image(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	files := filepath.Join(dir, "files")
	img := filepath.Join(dir, "img")
	for _, c := range [][]string{{"mkdir", files}, {"sqlite3", filepath.Join(files, "app.db"), "create table t(x); with recursive n(i) as (select 1 union all select i+1 from n where i<5000) insert into t select printf('row %d', i) from n;"},
		{"truncate", "-s", "16M", img}, {"mkfs.ext4", "-q", "-d", files, img}} {
		if out, err := exec.Command(c[0], c[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%v: %v: %s", c, err, out)
		}
	}
	return img
}

func TestExampleScripts(t *testing.T) {
	img := ext4Image(t)
	for _, name := range []string{"e2fsck", "sqlite"} {
		if _, err := example(t, name, img); err != nil {
			t.Errorf("%s of a clean disk: %v", name, err)
		}
	}
	// Damage that each of them has to see: the database's pages, the block bitmap.
	out, err := exec.Command("debugfs", "-R", "blocks /app.db", img).Output()
	if err != nil {
		t.Fatal(err)
	}
	var block int64
	if _, err := fmt.Sscan(strings.Fields(string(out))[2], &block); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	size := int64(1024) // of a block, in a file system this small
	if s, err := exec.Command("dumpe2fs", "-h", img).Output(); err != nil || !strings.Contains(string(s), "Block size:               1024") {
		size = 4096
	}
	f, err := os.OpenFile(img, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("rot", 1000)), block*size); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := example(t, "sqlite", img); err == nil {
		t.Error("sqlite does not see a damaged page")
	}
	if out, err := exec.Command("debugfs", "-w", "-R", "freei <12>", img).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if _, err := example(t, "e2fsck", img); err == nil {
		t.Error("e2fsck does not see a wrong bitmap")
	}
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"e2fsck", "sqlite"} {
		if _, err := example(t, name, empty); err == nil {
			t.Errorf("%s passes a disk without a file system", name)
		}
	}
}
