package systest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// restarts is how many planned restarts a test makes.
func restarts(t *testing.T) int {
	n, err := strconv.Atoi(os.Getenv("REDOUBT_RESTARTS"))
	if err != nil {
		n = sized(10, 4)
	}
	t.Logf("%d restarts (REDOUBT_RESTARTS)", n)
	return n
}

// reload lets the source's program take its own place and waits until it serves.
func (b *bed) reload() {
	b.Helper()
	before := b.said("redoubtd is ready")
	b.must(signalReload(b))
	b.until(func() bool { b.must(b.site.Source.Check()); return b.said("redoubtd is ready") > before })
}

// Clients that cannot connect again see a pause and no error: fio over a unix
// socket and over TCP, each with a verify pass, and clients that know every
// block, one of them always in the middle of a request.
func TestRestartUnderLoad(t *testing.T) {
	if _, err := exec.LookPath("fio"); err != nil {
		t.Skip("fio is not installed: run scripts/deps.sh")
	}
	b, tcp := newSource(t, 48<<20)
	b.must(b.site.Source.Start())
	b.serving()
	pid := b.site.Source.Pid()
	s, half := b.newSteady("b", 512), b.newCutter("a", 64)
	job := "[global]\nioengine=nbd\nrw=randwrite\nbsrange=4k-64k\niodepth=8\nsize=40m\noffset=4m\nrate=4m\nverify=crc32c\ndo_verify=1\nverify_fatal=1\nrandrepeat=0\nthread=1\n" +
		fmt.Sprintf("[unix]\nuri=nbd+unix:///a?socket=%s\n[tcp]\nuri=nbd://%s/b\n", b.socket(), tcp)
	path := filepath.Join(b.dir, "load.fio")
	b.must(os.WriteFile(path, []byte(job), 0o600))

	var enough atomic.Bool
	fio := make(chan error, 1)
	runs := 0
	go func() {
		for {
			cmd := exec.CommandContext(b.ctx, "fio", path)
			cmd.Dir = b.dir
			out, err := cmd.CombinedOutput()
			if err == nil && !strings.Contains(string(out), "READ:") {
				err = errors.New("no verify pass")
			}
			if err != nil {
				err = fmt.Errorf("fio: %w\n%s", err, out)
			}
			if runs++; err != nil || enough.Load() {
				fio <- err
				return
			}
		}
	}()
	var pauses []time.Duration
	for range restarts(t) {
		s.pause()
		release := half.cut()
		b.reload()
		release()
		pauses = append(pauses, s.pause())
		half.pause()
		select {
		case err := <-fio:
			if err != nil {
				t.Fatal(err)
			}
			t.Fatal("fio ended too early")
		default:
		}
	}
	enough.Store(true)
	if err := <-fio; err != nil {
		t.Error(err)
	}
	if err := errors.Join(s.end(), half.end()); err != nil {
		t.Error(err)
	}
	if got := b.site.Source.Pid(); got != pid {
		t.Errorf("process %d became %d", pid, got)
	}
	if n := b.said("handed_over=true"); n < len(pauses) {
		t.Errorf("%d connections were handed over in %d restarts", n, len(pauses))
	}
	p50, top := distribution(pauses)
	t.Logf("%d restarts under %d runs of fio: pause p50 %v, max %v", len(pauses), runs, p50.Round(time.Millisecond), top.Round(time.Millisecond))
}

// What the model knows about every change holds across restarts: none is lost,
// none done twice, at the source and at the secondary.
func TestRestartKeepsTheOrder(t *testing.T) {
	b := newBed(t)
	stop := b.background()
	for range sized(5, 2) {
		at := b.head().LSN
		b.until(func() bool { return b.head().LSN > at+50 })
		b.reload()
	}
	b.must(stop())
	b.anchor()
	b.judgeSource()
	p := b.head()
	b.committed(p.LSN)
	b.judgePoint(b.site.Targets[0], p)
}

// reloadSignal asks for a planned restart.
const reloadSignal = syscall.SIGHUP

func signalReload(b *bed) error { return b.site.Source.Signal(reloadSignal) }

func inodeOf(b *bed, path string) uint64 {
	b.Helper()
	var st syscall.Stat_t
	b.must(syscall.Stat(path, &st))
	return st.Ino
}
