package blockdev

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

// tool runs a program with arguments and returns its output.
func tool(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	return string(out), err
}

func needTool(t *testing.T, pkg, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is missing: apt-get install %s", name, pkg)
	}
}

func mustTool(t *testing.T, pkg, name string, args ...string) string {
	t.Helper()
	needTool(t, pkg, name)
	out, err := tool(t, name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

// site is a served image file over a journal on the host's file system.
type site struct {
	*served
	image, dir string
}

func newSite(t *testing.T, size int64) *site {
	t.Helper()
	st := &site{image: newImage(t, size), dir: t.TempDir()}
	r := &rig{}
	st.openGroup(t, r)
	st.served = serve(t, ServerOptions{}, r)
	return st
}

func (st *site) openGroup(t *testing.T, r *rig) {
	t.Helper()
	im, err := OpenImage(st.image, 0)
	if err != nil {
		t.Fatal(err)
	}
	r.j, err = journal.Open(filepath.Join(st.dir, "journal"), journal.Options{SegmentSize: 16 << 20, MaxBytes: 256 << 20,
		Start: redoubt.Position{Epoch: 1}, Create: true})
	if err != nil {
		t.Fatal(err)
	}
	r.g, err = OpenGroup(r.j, []Member{{redoubt.Disk{ID: 1, Name: "d1", Size: im.Size()}, im}}, GroupOptions{FullWait: 1e10})
	if err != nil {
		t.Fatal(err)
	}
}

func (st *site) uri() string { return "nbd+unix:///d1?socket=" + st.sock }

// sample writes a file of size bytes with data, zeros and holes.
func sample(t *testing.T, size int) string {
	t.Helper()
	b := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < size; i += 64 << 10 {
		if rng.IntN(3) > 0 {
			for k := i; k < min(i+64<<10, size); k++ {
				b[k] = byte(rng.Uint32())
			}
		}
	}
	path := filepath.Join(t.TempDir(), "sample")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func hashFile(t *testing.T, path string) [32]byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return sha256.Sum256(b)
}

func TestNbdinfo(t *testing.T) {
	st := newSite(t, 64<<20)
	out := mustTool(t, "libnbd-bin", "nbdinfo", st.uri())
	for _, want := range []string{"export-size: 67108864", "is_read_only: false", "can_flush: true", "can_fua: true", "can_trim: true",
		"can_zero: true", "can_fast_zero: true", "can_multi_conn: true", "can_cache: true", "can_df: true", "base:allocation", "block_size_maximum: 33554432"} {
		if !strings.Contains(out, want) {
			t.Errorf("nbdinfo does not say %q:\n%s", want, out)
		}
	}
	if out := mustTool(t, "libnbd-bin", "nbdinfo", "--list", "nbd+unix:///?socket="+st.sock); !strings.Contains(out, `export="d1"`) {
		t.Errorf("list:\n%s", out)
	}
	if out, err := tool(t, "nbdinfo", strings.Replace(st.uri(), "d1", "d9", 1)); err == nil || !strings.Contains(out, "for export: d9") {
		t.Errorf("unknown export: %v\n%s", err, out)
	}
}

func TestNbdcopyBothWays(t *testing.T) {
	const size = 48 << 20
	needTool(t, "libnbd-bin", "nbdcopy")
	st := newSite(t, size)
	in := sample(t, size)
	for i, args := range [][]string{{}, {"--connections=4", "--requests=64"}, {"--no-extents", "--synchronous"}} {
		mustTool(t, "libnbd-bin", "nbdcopy", append(args, "--flush", in, st.uri())...)
		back := filepath.Join(t.TempDir(), "back")
		mustTool(t, "libnbd-bin", "nbdcopy", append(args, st.uri(), back)...)
		if hashFile(t, in) != hashFile(t, back) {
			t.Fatalf("%v: the copy differs", args)
		}
		if s := st.g.Stats().Disks[0]; i == 0 && s.WriteBytes > size*3/4 {
			t.Errorf("zeros were sent as data: %d bytes written", s.WriteBytes)
		}
	}
	if err := st.g.Drain(background); err != nil {
		t.Fatal(err)
	}
	if hashFile(t, in) != hashFile(t, st.image) {
		t.Error("the image differs")
	}
	// The judge must be able to fail.
	f, err := os.OpenFile(in, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.WriteAt([]byte{0x5a}, 12345)
	f.Close()
	if hashFile(t, in) == hashFile(t, st.image) {
		t.Error("one flipped byte was not noticed")
	}
}

func TestQemu(t *testing.T) {
	const size = 32 << 20
	needTool(t, "qemu-utils", "qemu-img")
	st := newSite(t, size)
	in := sample(t, size)
	mustTool(t, "qemu-utils", "qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", in, st.uri())
	mustTool(t, "qemu-utils", "qemu-img", "compare", "-f", "raw", "-F", "raw", in, st.uri())
	out := mustTool(t, "qemu-utils", "qemu-io", "-f", "raw", "-c", "write -P 7 1M 64k", "-c", "read -P 7 1M 64k",
		"-c", "write -z 1M 4k", "-c", "read -P 0 1M 4k", "-c", "write -f -P 8 4097 3", "-c", "read -P 8 4097 3", "-c", "discard 2M 1M", "-c", "read -P 0 2M 1M", "-c", "flush", st.uri())
	if strings.Contains(out, "failed") {
		t.Errorf("qemu-io:\n%s", out)
	}
	if out, err := tool(t, "qemu-img", "compare", "-f", "raw", "-F", "raw", in, st.uri()); err == nil {
		t.Errorf("qemu-img does not see the change:\n%s", out)
	}
}

func TestFioVerify(t *testing.T) {
	needTool(t, "fio", "fio")
	if out, _ := tool(t, "fio", "--enghelp"); !strings.Contains(out, "nbd") {
		t.Skip("this fio has no nbd engine")
	}
	st := newSite(t, 64<<20)
	var wg sync.WaitGroup
	for i := range 2 { // two clients at once, each on its half
		wg.Go(func() {
			out, err := exec.Command("fio", "--name=v", "--ioengine=nbd", "--uri="+st.uri(), "--rw=randwrite", "--bsrange=512-64k", "--bs_unaligned=0",
				"--blockalign=512", "--iodepth=16", "--size=32m", fmt.Sprintf("--offset=%dm", i*32), "--verify=crc32c", "--do_verify=1", "--fsync=64",
				fmt.Sprintf("--randseed=%d", i+1), "--minimal", "--verify_state_save=0").CombinedOutput()
			if err != nil || bytes.Contains(out, []byte("verify:")) {
				t.Errorf("fio: %v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	s := st.g.Stats()
	t.Logf("%d writes, %d flushes, %d rounds", s.Disks[0].Writes, s.Disks[0].Flushes, s.Rounds)
}
