package site

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// CanMount says whether this host lets a kernel file system sit on an NBD
// socket (root, /dev/fuse, loop devices, nbdfuse); the error says what is missing.
func CanMount() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	for _, dev := range []string{"/dev/fuse", "/dev/loop-control"} {
		if _, err := os.Stat(dev); err != nil {
			return err
		}
	}
	for _, name := range []string{"nbdfuse", "losetup", "mount", "umount"} {
		if _, err := exec.LookPath(tool(name)); err != nil {
			return err
		}
	}
	return nil
}

// Mount is a kernel file system on an NBD export: nbdfuse shows the export as
// a file, a loop device makes it a block device, the kernel mounts that.
type Mount struct {
	Path string // of the file system
	fuse string // folder in which nbdfuse shows the disk
	loop string
	cmd  *exec.Cmd
	done chan struct{}
}

// MountNBD mounts the ext4 file system on a unix socket's export. dir must not
// exist.
func MountNBD(ctx context.Context, dir, socket, export string) (*Mount, error) {
	m := &Mount{Path: filepath.Join(dir, "fs"), fuse: filepath.Join(dir, "disk"), done: make(chan struct{})}
	for _, p := range []string{m.Path, m.fuse} {
		if err := os.MkdirAll(p, 0o700); err != nil {
			return nil, err
		}
	}
	file := filepath.Join(m.fuse, "nbd")
	m.cmd = exec.Command("nbdfuse", file, "nbd+unix:///"+export+"?socket="+socket)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.cmd.Wait(); close(m.done) }()
	if err := m.attach(ctx, file); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

func (m *Mount) attach(ctx context.Context, file string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		fi, err := os.Stat(file)
		if err == nil && fi.Size() > 0 {
			break
		}
		select {
		case <-m.done:
			return errors.New("nbdfuse has ended")
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return errors.New("nbdfuse does not come up")
		}
	}
	out, err := command(ctx, "losetup", "-f", "--show", file)
	if err != nil {
		return err
	}
	m.loop = strings.TrimSpace(out)
	_, err = command(ctx, "mount", "-t", "ext4", "-o", "errors=remount-ro,discard", m.loop, m.Path)
	return err
}

// Close unmounts. It also works, and gives errors of no interest, when the
// export is gone: what the kernel could not write is dropped.
func (m *Mount) Close() error {
	ctx := context.Background()
	var errs []error
	try := func(argv ...string) {
		if _, err := command(ctx, argv...); err != nil {
			errs = append(errs, err)
		}
	}
	if _, err := command(ctx, "umount", m.Path); err != nil {
		errs = append(errs, err)
		try("umount", "-l", m.Path)
	}
	if m.loop != "" {
		try("losetup", "-d", m.loop)
	}
	// The loop device lets go of the file a moment after the last user has gone.
	for i := 0; ; i++ {
		_, err := command(ctx, "umount", m.fuse)
		if err == nil {
			break
		}
		if i == 50 {
			errs = append(errs, err)
			try("umount", "-l", m.fuse)
			break
		}
		select {
		case <-m.done: // it has unmounted itself, or died and left a dead mount
			try("umount", "-l", m.fuse)
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	select {
	case <-m.done:
	case <-time.After(5 * time.Second):
		m.cmd.Process.Kill()
		<-m.done
	}
	return errors.Join(errs...)
}

// command runs a program of the system and returns what it prints; the error
// holds what it complained about.
func command(ctx context.Context, argv ...string) (string, error) {
	cmd := exec.CommandContext(ctx, tool(argv[0]), argv[1:]...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

// tool finds a program, also in the folders that are on root's path only.
func tool(name string) string {
	if _, err := exec.LookPath(name); err != nil {
		for _, dir := range []string{"/usr/sbin", "/sbin"} {
			p := filepath.Join(dir, name)
			if _, err := os.Stat(p); err == nil {
				return p
			}
		}
	}
	return name
}
