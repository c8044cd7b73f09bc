package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// rival is a way to serve a disk.
type rival struct {
	name  string
	start func(ctx context.Context, master string) (*target, error)
}

// target is a served disk: fio's engine lines and how to end it.
type target struct {
	engine []string
	stop   func() error
}

// skipError says that a rival cannot run here.
type skipError struct{ why string }

func (e *skipError) Error() string { return "skipped: " + e.why }

func allRivals(o options) []rival {
	all := []rival{
		{"redoubt", func(ctx context.Context, m string) (*target, error) { return startRedoubt(ctx, o, m) }},
		{"loop-buffered", func(ctx context.Context, m string) (*target, error) { return startLoop(ctx, o, m, false) }},
		{"loop-direct", func(ctx context.Context, m string) (*target, error) { return startLoop(ctx, o, m, true) }},
		{"nbdkit-file", func(ctx context.Context, m string) (*target, error) {
			return startServer(ctx, o, m, func(sock, img string) []string { return []string{"nbdkit", "-f", "-U", sock, "file", img} })
		}},
		{"qemu-nbd", func(ctx context.Context, m string) (*target, error) {
			return startServer(ctx, o, m, func(sock, img string) []string {
				return []string{"qemu-nbd", "-f", "raw", "-t", "-e", "4", "-k", sock, img}
			})
		}},
	}
	var out []rival
	for _, r := range all {
		if strings.Contains(r.name, o.only) {
			out = append(out, r)
		}
	}
	return out
}

// fill makes the master image: random data, so that nothing is a hole.
func fill(path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(f, rand.NewChaCha8([32]byte{1}), size); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// fresh copies the master to a new folder, synced, so that no rival pays for
// another's dirty pages.
func fresh(ctx context.Context, o options, master string) (dir, img string, err error) {
	if dir, err = os.MkdirTemp(o.dir, "v"); err != nil {
		return "", "", err
	}
	img = filepath.Join(dir, "disk")
	if out, err := exec.CommandContext(ctx, "cp", "--reflink=never", master, img).CombinedOutput(); err != nil {
		return "", "", fmt.Errorf("cp: %w: %s", err, out)
	}
	syscall.Sync()
	return dir, img, nil
}

func nbdEngine(sock, export string) []string {
	return []string{"ioengine=nbd", fmt.Sprintf("uri=nbd+unix:///%s?socket=%s", export, sock)}
}

// startRedoubt serves a protected disk. The targets are never started:
// replication is a background task that shares these cores with nothing else
// here, and its cost belongs to another table.
func startRedoubt(ctx context.Context, o options, master string) (*target, error) {
	dir, img, err := fresh(ctx, o, master)
	if err != nil {
		return nil, err
	}
	s, err := site.New(ctx, site.Options{BinDir: o.bin, Dir: dir, Group: "bench", JournalMax: "4GiB", Preallocate: true,
		Disks: []site.Disk{{Name: "disk", Path: img}}})
	if err != nil {
		return nil, err
	}
	stop := func() error {
		err := s.Source.Stop(60 * time.Second)
		return errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Source.Start(); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		_, g, err := s.Status(ctx, s.Source)
		if err == nil && len(g.Disks) == 1 && g.Disks[0].Socket != "" {
			return &target{engine: nbdEngine(g.Disks[0].Socket, g.Disks[0].Export), stop: stop}, nil
		}
		if dead := s.Source.Check(); dead != nil || time.Now().After(deadline) {
			return nil, errors.Join(dead, err, stop())
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func startLoop(ctx context.Context, o options, master string, direct bool) (*target, error) {
	if os.Geteuid() != 0 {
		return nil, &skipError{"a loop device needs root"}
	}
	dir, img, err := fresh(ctx, o, master)
	if err != nil {
		return nil, err
	}
	mode := "--direct-io=off"
	if direct {
		mode = "--direct-io=on"
	}
	out, err := exec.CommandContext(ctx, "losetup", "-f", "--show", mode, img).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		return nil, &skipError{fmt.Sprintf("losetup %s: %s", mode, strings.TrimSpace(string(out)))}
	}
	dev := strings.TrimSpace(string(out))
	return &target{engine: []string{"ioengine=libaio", "direct=1", "filename=" + dev}, stop: func() error {
		err := exec.Command("losetup", "-d", dev).Run()
		return errors.Join(err, os.RemoveAll(dir))
	}}, nil
}

// startServer serves the image with another NBD server.
func startServer(ctx context.Context, o options, master string, argv func(sock, img string) []string) (*target, error) {
	dir, img, err := fresh(ctx, o, master)
	if err != nil {
		return nil, err
	}
	sock := filepath.Join(dir, "s")
	args := argv(sock, img)
	if _, err := exec.LookPath(args[0]); err != nil {
		os.RemoveAll(dir)
		return nil, &skipError{args[0] + " is not installed"}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		return os.RemoveAll(dir)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := oracle.Dial(ctx, sock, "")
		if err == nil {
			return &target{engine: nbdEngine(sock, ""), stop: stop}, c.Close()
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(err, stop())
		}
	}
}
