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

// Device is a block device of this host on an NBD export: nbdfuse shows the
// export as a file, a loop device makes that a block device. It passes on
// flushes and discards. It is for one goroutine.
type Device struct {
	Path string // such as /dev/loop3
	fuse string // folder in which nbdfuse shows the disk
	cmd  *exec.Cmd
	done chan struct{} // closed when nbdfuse has ended
}

// AttachNBD makes a unix socket's export a block device. dir must not exist; it
// holds what nbdfuse needs and can be removed after Close.
func AttachNBD(ctx context.Context, dir, socket, export string) (*Device, error) {
	d := &Device{fuse: dir, done: make(chan struct{})}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "nbd")
	d.cmd = exec.Command("nbdfuse", file, "nbd+unix:///"+export+"?socket="+socket)
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { d.cmd.Wait(); close(d.done) }()
	if err := d.attach(ctx, file); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

func (d *Device) attach(ctx context.Context, file string) error {
	deadline := time.Now().Add(15 * time.Second)
	for {
		fi, err := os.Stat(file)
		if err == nil && fi.Size() > 0 {
			break
		}
		select {
		case <-d.done:
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
	d.Path = strings.TrimSpace(out)
	return nil
}

// Cut ends nbdfuse with kill -9: from now on the device fails every request.
func (d *Device) Cut() {
	d.cmd.Process.Kill()
	<-d.done
}

// Close gives the device back; what is on it must be unmounted. It also works,
// and gives errors of no interest, when the export is gone. The error wraps
// ErrBusy if the loop device is still there afterwards.
func (d *Device) Close() error {
	ctx := context.Background()
	var errs []error
	try := func(argv ...string) {
		if _, err := command(ctx, argv...); err != nil {
			errs = append(errs, err)
		}
	}
	if d.Path != "" {
		try("losetup", "-d", d.Path)
	}
	// The loop device lets go of the file a moment after the last user has gone.
	for i := 0; ; i++ {
		_, err := command(ctx, "umount", d.fuse)
		if err == nil {
			break
		}
		if i == 300 { // half a minute: a busy machine takes its time
			errs = append(errs, err)
			try("umount", "-l", d.fuse)
			break
		}
		select {
		case <-d.done: // it has unmounted itself, or died and left a dead mount
			try("umount", "-l", d.fuse)
		case <-time.After(100 * time.Millisecond):
			continue
		}
		break
	}
	select {
	case <-d.done:
	case <-time.After(5 * time.Second):
		d.Cut()
	}
	return errors.Join(append(errs, d.gone())...)
}

// ErrBusy means that a loop device outlived its Close.
var ErrBusy = errors.New("loop device is still in use")

// gone waits until the kernel has freed the loop device.
func (d *Device) gone() error {
	if d.Path == "" {
		return nil
	}
	backing := filepath.Join("/sys/block", filepath.Base(d.Path), "loop/backing_file")
	for range 100 {
		b, err := os.ReadFile(backing)
		if err != nil || !strings.HasPrefix(string(b), d.fuse) { // free, or somebody else's by now
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return fmt.Errorf("%s: %w", d.Path, ErrBusy)
}
