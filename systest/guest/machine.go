package guest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Host is the address under which a guest reaches this host's loopback.
const Host = "10.0.2.2"

// Machine is a guest that runs. It is for one goroutine.
type Machine struct {
	cmd     *exec.Cmd
	done    chan struct{} // closed when QEMU has ended
	conn    net.Conn
	lines   *bufio.Reader
	console string
}

// Boot starts a guest whose files lie in dir, a short path, and waits until it
// takes commands. redoubt is a static program that becomes the guest's
// /bin/redoubt. The error wraps ErrNoPackages where there is no QEMU or no way
// to get packages.
func Boot(ctx context.Context, dir, redoubt string) (*Machine, error) {
	qemu, err := exec.LookPath("qemu-system-x86_64")
	if err != nil {
		return nil, fmt.Errorf("%w: %w (qemu-system-x86)", ErrNoPackages, err)
	}
	root, err := fetch(ctx)
	if err != nil {
		return nil, err
	}
	img, err := build(filepath.Join(dir, "initramfs"), root, redoubt)
	if err != nil {
		return nil, err
	}
	port := filepath.Join(dir, "port")
	l, err := net.Listen("unix", port)
	if err != nil {
		return nil, err
	}
	defer l.Close()
	m := &Machine{done: make(chan struct{}), console: filepath.Join(dir, "console")}
	m.cmd = exec.Command(qemu, "-accel", "tcg", "-M", "pc", "-cpu", "max", "-m", "512", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-kernel", img.kernel, "-initrd", img.initramfs, "-append", "console=ttyS0 panic=-1 quiet loglevel=6",
		"-serial", "file:"+m.console,
		"-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n,romfile=",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=c,path="+port, "-device", "virtserialport,chardev=c")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	var stderr strings.Builder
	m.cmd.Stderr = &stderr
	if err := m.cmd.Start(); err != nil {
		return nil, err
	}
	go func() { m.cmd.Wait(); close(m.done) }()
	if d, ok := ctx.Deadline(); ok {
		l.(*net.UnixListener).SetDeadline(d)
	}
	go func() { // a QEMU that ends does not connect
		select {
		case <-m.done:
			l.Close()
		case <-ctx.Done():
			l.Close()
		}
	}()
	if m.conn, err = l.Accept(); err != nil {
		m.Kill()
		return nil, fmt.Errorf("QEMU does not come up: %w: %s", err, stderr.String())
	}
	m.lines = bufio.NewReader(m.conn)
	if _, err := m.answer(ctx); err != nil {
		m.Kill()
		return nil, fmt.Errorf("the guest does not come up: %w\n%s", err, m.Console())
	}
	return m, nil
}

// Run has the guest's shell run a line and returns what it prints; a status
// other than 0 is an error.
func (m *Machine) Run(ctx context.Context, line string) (string, error) {
	if _, err := fmt.Fprintln(m.conn, line); err != nil {
		return "", err
	}
	out, err := m.answer(ctx)
	if err != nil {
		return out, fmt.Errorf("guest: %s: %w: %s", line, err, out)
	}
	return out, nil
}

// answer reads up to the mark that ends a command's output.
func (m *Machine) answer(ctx context.Context) (string, error) {
	deadline, _ := ctx.Deadline()
	m.conn.SetReadDeadline(deadline)
	var out strings.Builder
	for {
		line, err := m.lines.ReadString('\n')
		if err != nil {
			return out.String(), err
		}
		text, mark, ok := strings.Cut(strings.TrimRight(line, "\r\n"), "@@")
		if !ok {
			out.WriteString(line)
			continue
		}
		out.WriteString(text)
		_, status, _ := strings.Cut(mark, " ")
		if n, err := strconv.Atoi(status); err != nil || n != 0 {
			return out.String(), errors.New("exit status " + status)
		}
		return out.String(), nil
	}
}

// Console returns what the guest's kernel said.
func (m *Machine) Console() string {
	b, err := os.ReadFile(m.console)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// Kill is the guest's power cut.
func (m *Machine) Kill() {
	m.cmd.Process.Kill()
	<-m.done
	if m.conn != nil {
		m.conn.Close()
	}
}

// patience bounds what emulation takes on a busy host.
const patience = 4 * time.Minute

// WithPatience returns a context for one command or a boot.
func WithPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, patience)
}
