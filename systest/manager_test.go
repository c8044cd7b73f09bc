package systest

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// manager is the service manager's side of sd_notify(3) and sd_listen_fds(3):
// it keeps descriptors for a service and gives them to its next life.
type manager struct {
	b     *bed
	sock  *net.UnixConn
	path  string
	cmd   *exec.Cmd
	ended chan error

	mu    sync.Mutex
	names []string // of what is kept, in the order of arrival
	kept  []*os.File
	ready int
}

// newManager takes care of the source's program.
func (b *bed) newManager() *manager {
	b.Helper()
	m := &manager{b: b, path: filepath.Join(b.dir, "notify")}
	var err error
	m.sock, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.path})
	b.must(err)
	done := make(chan struct{})
	go func() { defer close(done); m.listen() }()
	b.Cleanup(func() {
		if m.cmd != nil {
			m.cmd.Process.Kill()
			<-m.ended
		}
		m.sock.Close()
		<-done
		m.drop()
	})
	return m
}

func (m *manager) listen() {
	buf, oob := make([]byte, 4096), make([]byte, 4096)
	for {
		n, on, _, _, err := m.sock.ReadMsgUnix(buf, oob)
		if err != nil {
			return
		}
		var files []*os.File
		msgs, _ := syscall.ParseSocketControlMessage(oob[:on])
		for _, c := range msgs {
			fds, _ := syscall.ParseUnixRights(&c)
			for _, fd := range fds {
				files = append(files, os.NewFile(uintptr(fd), "kept"))
			}
		}
		m.message(strings.Split(string(buf[:n]), "\n"), files)
	}
}

func (m *manager) message(lines []string, files []*os.File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := ""
	for _, l := range lines {
		if v, ok := strings.CutPrefix(l, "FDNAME="); ok {
			name = v
		}
	}
	for _, l := range lines {
		switch l {
		case "FDSTORE=1":
			for _, f := range files {
				m.names, m.kept = append(m.names, name), append(m.kept, f)
			}
			files = nil
		case "FDSTOREREMOVE=1":
			for i := len(m.names) - 1; i >= 0; i-- {
				if m.names[i] == name {
					m.kept[i].Close()
					m.names, m.kept = slices.Delete(m.names, i, i+1), slices.Delete(m.kept, i, i+1)
				}
			}
		case "READY=1":
			m.ready++
		}
	}
	for _, f := range files { // of BARRIER=1, too: that is its answer
		f.Close()
	}
}

// start starts a life with what is kept; extra are sockets of socket units.
func (m *manager) start(extra ...*os.File) {
	m.b.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.b.site.Source
	log, err := os.OpenFile(n.LogPath(), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	m.b.must(err)
	defer log.Close()
	m.ready = 0
	m.cmd = exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, filepath.Join(binDir, "redoubtd"), "--config", n.Config())
	m.cmd.Stdout, m.cmd.Stderr = log, log
	names := append(slices.Repeat([]string{"unknown"}, len(extra)), m.names...)
	m.cmd.ExtraFiles = append(slices.Clone(extra), m.kept...)
	m.cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+m.path, "LISTEN_FDS="+strconv.Itoa(len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	m.b.must(m.cmd.Start())
	ended, cmd := make(chan error, 1), m.cmd
	go func() { ended <- cmd.Wait() }()
	m.ended = ended
}

// isReady waits until the service has said so.
func (m *manager) isReady() {
	m.b.Helper()
	m.b.until(func() bool {
		select {
		case err := <-m.ended:
			m.cmd = nil
			m.b.Fatalf("the daemon ended: %v\n%s", err, m.b.site.Source.LogTail(20))
		default:
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		return m.ready > 0
	})
}

// stop sends SIGTERM and waits for the end.
func (m *manager) stop() error {
	m.b.Helper()
	m.b.must(m.cmd.Process.Signal(syscall.SIGTERM))
	return m.wait()
}

func (m *manager) wait() error {
	m.b.Helper()
	select {
	case err := <-m.ended:
		m.cmd = nil
		return err
	case <-time.After(patience):
		m.b.Fatal("the daemon does not end")
		return nil
	}
}

// keeps returns how many descriptors are kept.
func (m *manager) keeps() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.kept)
}

// drop forgets everything, as it happens when a service is stopped for good.
func (m *manager) drop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.kept {
		f.Close()
	}
	m.names, m.kept = nil, nil
}
