package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// serverArgs returns the command line of an NBD server that serves an image as
// the export "disk" (or as any name) on a unix socket, in the foreground.
type serverArgs func(dir, sock, img string) ([]string, error)

func nbdkitFile(_, sock, img string) ([]string, error) {
	return []string{"nbdkit", "-f", "-U", sock, "file", img}, nil
}

// nbdkitNull keeps nothing: what it reaches is the limit of client and socket.
func nbdkitNull(_, sock, img string) ([]string, error) {
	fi, err := os.Stat(img)
	if err != nil {
		return nil, err
	}
	return []string{"nbdkit", "-f", "-U", sock, "null", strconv.FormatInt(fi.Size(), 10)}, nil
}

func qemuNBD(_, sock, img string) ([]string, error) {
	return []string{"qemu-nbd", "-f", "raw", "--cache=writeback", "-t", "-e", "16", "-x", "disk", "-k", sock, img}, nil
}

// nbdServer writes the configuration of nbd-server. It insists on a TCP port
// beside the socket, and with -d ("do not fork") serves one connection only;
// so it goes to the background, and its process id comes from a file.
func nbdServer(dir, sock, img string) ([]string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	defer l.Close()
	fi, err := os.Stat(img)
	if err != nil {
		return nil, err
	}
	conf := filepath.Join(dir, "conf")
	text := fmt.Sprintf("[generic]\n\tunixsock = %s\n\tlistenaddr = 127.0.0.1\n\tport = %d\n[disk]\n\texportname = %s\n\tfilesize = %d\n\tflush = true\n\tfua = true\n",
		sock, l.Addr().(*net.TCPAddr).Port, img, fi.Size())
	return []string{"nbd-server", "-C", conf, "-p", filepath.Join(dir, "pid")}, os.WriteFile(conf, []byte(text), 0o600)
}

// startServer serves the image with another NBD server.
func startServer(ctx context.Context, o options, j job, argv serverArgs) (*target, error) {
	dir, img, err := workplace(o, j.disk)
	if err != nil {
		return nil, err
	}
	sock := filepath.Join(dir, "s")
	args, err := argv(dir, sock, img)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		os.RemoveAll(dir)
		return nil, &skipError{args[0] + " is not installed (scripts/deps.sh, or the Debian package of that name)"}
	}
	cmd := exec.Command(args[0], args[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	stop := func() error {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
		return errors.Join(endDaemon(filepath.Join(dir, "pid")), os.RemoveAll(dir))
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		c, err := oracle.Dial(ctx, sock, "disk")
		if err == nil {
			return &target{engine: nbdEngine(sock, "disk"), stop: stop}, c.Close()
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(fmt.Errorf("%s does not answer: %w", args[0], err), stop())
		}
	}
}

// endDaemon ends the process that wrote its id into a file, and waits for it.
// No file: nothing to do.
func endDaemon(pidFile string) error {
	b, err := os.ReadFile(pidFile)
	if err != nil {
		return nil
	}
	var pid int
	if _, err := fmt.Sscan(string(b), &pid); err != nil || pid <= 1 {
		return fmt.Errorf("%s: %q", pidFile, b)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		// It may be a zombie for good where init does not reap.
		if syscall.Kill(pid, syscall.SIGTERM) != nil || zombie(pid) {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("process %d does not end", pid), syscall.Kill(pid, syscall.SIGKILL))
		}
	}
}

func zombie(pid int) bool { return field(fmt.Sprintf("/proc/%d/status", pid), "State") == "Z (zombie)" }
