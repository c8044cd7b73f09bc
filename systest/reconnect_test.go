package systest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What a kill -9 of redoubtd does to clients that connect again: nothing but a
// pause. The commands are those of docs/RESTART.md.
func TestReconnectAfterKill(t *testing.T) {
	for _, c := range []struct {
		name, pkg string
		argv      func(source, front string) []string
	}{
		{"qemu", "qemu-storage-daemon=qemu-system-common", func(source, front string) []string {
			return []string{"qemu-storage-daemon",
				"--blockdev", "driver=nbd,node-name=disk,server.type=unix,server.path=" + source + ",export=a,reconnect-delay=60",
				"--nbd-server", "addr.type=unix,addr.path=" + front,
				"--export", "type=nbd,id=out,node-name=disk,name=a,writable=on"}
		}},
		{"nbdkit", "nbdkit=nbdkit", func(source, front string) []string {
			return []string{"nbdkit", "--foreground", "--exit-with-parent", "-U", front, "--filter=retry",
				"nbd", "uri=nbd+unix:///a?socket=" + source, "retry=60", "retries=60", "retry-delay=1", "retry-exponential=no"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, _ := newSource(t, 48<<20)
			front := filepath.Join(b.dir, "front")
			argv := c.argv(b.socket(), front)
			for _, p := range []string{argv[0], "fio"} {
				if _, err := exec.LookPath(p); err != nil {
					t.Skipf("%s is not installed: run scripts/deps.sh %s", p, c.pkg)
				}
			}
			b.must(b.site.Source.Start())
			b.serving()
			proxy := b.launch(argv...)
			b.until(func() bool { _, err := os.Stat(front); return err == nil })
			job := filepath.Join(b.dir, "kill.fio")
			b.must(os.WriteFile(job, []byte("[a]\nioengine=nbd\nuri=nbd+unix:///a?socket="+front+
				"\nrw=randwrite\nbsrange=4k-64k\niodepth=8\nsize=40m\nrate=6m\nverify=crc32c\ndo_verify=1\nverify_fatal=1\nrandrepeat=0\nthread=1\nfsync=64\n"), 0o600))
			fio := b.launch("fio", job)
			for range sized(4, 2) {
				written := b.lsn()
				b.until(func() bool { fio.runs(); return b.lsn() > written+50 })
				b.site.Source.Kill()
				b.must(b.site.Source.Start())
				b.serving()
			}
			fio.runs() // it saw all the kills
			if err := fio.wait(); err != nil {
				t.Error(err)
			}
			proxy.runs()
			proxy.Process.Kill()
			proxy.wait()
		})
	}
}

// program runs in the background until the test ends.
type program struct {
	*exec.Cmd
	b     *bed
	ended chan error
}

func (b *bed) launch(argv ...string) *program {
	b.Helper()
	p := &program{Cmd: exec.CommandContext(b.ctx, argv[0], argv[1:]...), b: b, ended: make(chan error, 1)}
	p.Dir = b.dir // fio leaves its state where it runs
	var out strings.Builder
	p.Stdout, p.Stderr = &out, &out
	b.must(p.Start())
	go func() {
		err := p.Wait()
		if err != nil {
			err = fmt.Errorf("%s: %w\n%s", argv[0], err, out.String())
		}
		p.ended <- err
	}()
	return p
}

// runs fails the test if the program has ended.
func (p *program) runs() {
	p.b.Helper()
	select {
	case err := <-p.ended:
		p.b.Fatalf("%s has ended too early: %v", p.Path, err)
	default:
	}
}

// wait returns how the program ended.
func (p *program) wait() error { return <-p.ended }

// lsn is the last write of the source.
func (b *bed) lsn() uint64 {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Source)
	b.must(err)
	return g.GetHead().GetLsn()
}
