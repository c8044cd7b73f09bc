package site

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"
)

// process is one life of a redoubtd.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // valid after done
}

// Start starts the node's redoubtd. It says nothing about readiness: ask with
// Call or Wait.
func (n *Node) Start() error {
	if n.Alive() {
		return fmt.Errorf("%s runs already", n.Name)
	}
	log, err := os.OpenFile(n.LogPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	argv := append(slices.Clone(n.in), n.bin, "--config", n.Config())
	p := &process{cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), n.Env...)
	// The daemons end with the program that started them, and its Ctrl-C is not theirs.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return err
	}
	go func() { p.err = p.cmd.Wait(); close(p.done) }()
	n.proc = p
	return nil
}

// Alive reports whether the process runs.
func (n *Node) Alive() bool { return n.Check() == nil }

// Check returns nil while the process runs, and how it ended otherwise.
func (n *Node) Check() error {
	if n.proc == nil {
		return fmt.Errorf("%s was not started", n.Name)
	}
	select {
	case <-n.proc.done:
		return fmt.Errorf("%s has ended (%v); the end of its log:\n%s", n.Name, n.proc.err, n.LogTail(15))
	default:
		return nil
	}
}

// Pid returns the process id, or 0.
func (n *Node) Pid() int {
	if !n.Alive() {
		return 0
	}
	return n.proc.cmd.Process.Pid
}

// Signal sends the process a signal. It fails, and sends nothing, if the process
// does not run: kill(2) would take the process id 0 for everybody here.
func (n *Node) Signal(sig syscall.Signal) error {
	if err := n.Check(); err != nil {
		return err
	}
	return syscall.Kill(n.Pid(), sig)
}

// Kill is kill -9: the process gets no chance to do anything. It returns when
// the process is gone.
func (n *Node) Kill() {
	if n.proc != nil {
		n.proc.cmd.Process.Kill()
		<-n.proc.done
	}
}

// Stop asks the process to end (SIGTERM) and waits for it.
func (n *Node) Stop(patience time.Duration) error {
	if err := n.Check(); err != nil {
		return err
	}
	n.proc.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.proc.done:
		return n.proc.err
	case <-time.After(patience):
		n.Kill()
		return fmt.Errorf("%s did not end within %s of SIGTERM", n.Name, patience)
	}
}

// LogTail returns the last lines of the node's log.
func (n *Node) LogTail(lines int) string {
	b, err := os.ReadFile(n.LogPath())
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}
