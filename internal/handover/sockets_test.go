package handover

import (
	"bytes"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func listenUnix(t *testing.T, path string) func() (net.Listener, error) {
	return func() (net.Listener, error) { return net.Listen("unix", path) }
}

// A client that connects between two lives is served by the second.
func TestListenerOutlivesItsServer(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	key := "unix:" + path
	first := NewSockets(nil)
	l, err := first.Listen(key, listenUnix(t, path))
	if err != nil {
		t.Fatal(err)
	}
	first.Keep()
	l.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("nobody listens between two lives: %v", err)
	}
	defer c.Close()
	second := NewSockets(first.Hand())
	l, err = second.Listen(key, func() (net.Listener, error) { t.Error("opened again"); return nil, io.EOF })
	if err != nil {
		t.Fatal(err)
	}
	l.(*unixListener).SetDeadline(time.Now().Add(10 * time.Second))
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	second.Close()
	l.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is still there: %v", err)
	}
}

// What the service manager listens on is recognised by its address, and its
// file stays.
func TestActivatedSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s")
	made, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	made.(*net.UnixListener).SetUnlinkOnClose(false)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	in := &Inherited{}
	for _, l := range []net.Listener{made, tcp, made} {
		fd, err := Dup(l.(syscall.Conn))
		if err != nil {
			t.Fatal(err)
		}
		in.activated(fd)
	}
	made.Close()
	defer tcp.Close()
	var log bytes.Buffer
	s := NewSockets(in.Listeners)
	l, err := s.Listen("unix:"+path+"/", func() (net.Listener, error) { return nil, io.EOF })
	if err != nil {
		t.Fatal(err)
	}
	s.CloseRest(slog.New(slog.NewTextHandler(&log, nil)))
	if n := bytes.Count(log.Bytes(), []byte("\n")); n != 1 || !bytes.Contains(log.Bytes(), []byte(tcp.Addr().String())) {
		t.Errorf("one socket is in no configuration, the log says:\n%s", &log)
	}
	s.Close()
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the service manager's socket file: %v", err)
	}
}

func TestServes(t *testing.T) {
	for _, c := range []struct {
		have, want string
		ok         bool
	}{
		{"unix:/a/b", "unix:/a/b", true},
		{"unix:/a/b", "unix:/a/./b", true},
		{"unix:/a/b", "unix:/a/c", false},
		{"unix:", "tcp::1", false},
		{"tcp:[::]:7700", "tcp:0.0.0.0:7700", true},
		{"tcp:[::]:7700", "tcp::7700", true},
		{"tcp:127.0.0.1:7700", "tcp:127.0.0.1:7700", true},
		{"tcp:127.0.0.1:7700", "tcp:0.0.0.0:7700", false},
		{"tcp:0.0.0.0:7700", "tcp:0.0.0.0:7701", false},
		{"tcp:127.0.0.1:45678", "tcp:127.0.0.1:0", false},
		{"tcp:127.0.0.1:7700", "tcp:localhost:7700", false},
	} {
		if got := (Listener{Key: c.have}).serves(c.want); got != c.ok {
			t.Errorf("%s serves %s: %v", c.have, c.want, got)
		}
	}
}

// End is seen by the client although somebody else has the socket, too.
func TestEndIsSeen(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fds[1])
	keeper, err := unix.Dup(fds[0])
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(keeper)
	c := Conn{FD: fds[0]}
	c.End()
	unix.SetsockoptTimeval(fds[1], unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 10})
	if n, err := unix.Read(fds[1], make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("the client reads %d, %v", n, err)
	}
}
