package lan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// MaxHosts is the largest network.
const MaxHosts = 32

// LAN is some hosts and the switch between them. Its methods may be called
// concurrently.
type LAN struct {
	hosts []*Host
	ways  [][]*way // from, to
}

// Host is one network namespace with an interface eth0.
type Host struct {
	Index int
	Addr  string // IPv4
	ns    string
	port  *os.File // the other end of eth0
}

// Way is how frames get from one host to another. The zero value is a wire
// without limits.
type Way struct {
	Cut   bool
	Delay time.Duration // of each frame
	Rate  int           // bytes a second; 0: no limit
}

// Can says whether this host can have such a network; the error names what is
// missing.
func Can() error {
	if os.Geteuid() != 0 {
		return errors.New("not root")
	}
	if _, err := os.Stat(tunDevice); err != nil {
		return err
	}
	_, err := exec.LookPath("ip")
	return err
}

// New makes a network of n hosts, whose interfaces carry packets of at most mtu
// bytes. Close it after use: namespaces outlive the process that made them. New
// removes those of processes that are gone.
func New(n, mtu int) (*LAN, error) {
	if n < 1 || n > MaxHosts {
		return nil, fmt.Errorf("a network of %d hosts: 1 to %d are possible", n, MaxHosts)
	}
	sweep()
	l := &LAN{}
	for i := range n {
		h, err := newHost(i, n, mtu)
		if err != nil {
			return nil, errors.Join(err, l.Close())
		}
		l.hosts = append(l.hosts, h)
	}
	for from := range n {
		l.ways = append(l.ways, nil)
		for to := range n {
			l.ways[from] = append(l.ways[from], newWay(l.hosts[to].port))
		}
	}
	for _, h := range l.hosts {
		go l.serve(h, mtu)
	}
	return l, nil
}

// Host returns host i, from 0.
func (l *LAN) Host(i int) *Host { return l.hosts[i] }

// Set says how frames get from one host to another from now on.
func (l *LAN) Set(from, to int, w Way) { l.ways[from][to].set(w) }

// Both says how frames get between two hosts from now on.
func (l *LAN) Both(a, b int, w Way) {
	l.Set(a, b, w)
	l.Set(b, a, w)
}

// Heal makes all ways free.
func (l *LAN) Heal() {
	for from := range l.hosts {
		for to := range l.hosts {
			l.Set(from, to, Way{})
		}
	}
}

// Close removes the network. Processes in it keep a namespace without one.
func (l *LAN) Close() error {
	var errs []error
	for _, ws := range l.ways {
		for _, w := range ws {
			w.close()
		}
	}
	for _, h := range l.hosts {
		errs = append(errs, h.port.Close(), ip("netns", "del", h.ns))
	}
	return errors.Join(errs...)
}

// In returns the beginning of a command line that runs a program at the host.
func (h *Host) In() []string { return []string{"ip", "netns", "exec", h.ns} }

func newHost(i, n, mtu int) (h *Host, err error) {
	h = &Host{Index: i, Addr: addr(i), ns: fmt.Sprintf("%s%d-%d", nsPrefix, os.Getpid(), i)}
	tap := fmt.Sprintf("rl%dx%d", os.Getpid()%1e6, i)
	if h.port, err = openTap(tap); err != nil {
		return nil, err
	}
	if err = ip("netns", "add", h.ns); err != nil {
		return nil, errors.Join(err, h.port.Close())
	}
	var b strings.Builder
	fmt.Fprintf(&b, "link set lo up\nlink set eth0 address %s mtu %d\naddr add %s/24 dev eth0\nlink set eth0 up\n", mac(i), mtu, h.Addr)
	for k := range n { // so that a way in one direction needs no answer to a question in the other
		if k != i {
			fmt.Fprintf(&b, "neigh add %s lladdr %s dev eth0 nud permanent\n", addr(k), mac(k))
		}
	}
	if err = ip("link", "set", tap, "netns", h.ns, "name", "eth0"); err == nil {
		err = ipBatch(h.ns, b.String())
	}
	if err != nil {
		return nil, errors.Join(err, h.port.Close(), ip("netns", "del", h.ns))
	}
	return h, nil
}

const nsPrefix = "redoubt-lan-"

func addr(i int) string { return fmt.Sprintf("10.77.0.%d", i+1) }
func mac(i int) string  { return fmt.Sprintf("02:00:00:00:00:%02x", i+1) }

// sweep removes namespaces that a killed process has left behind.
func sweep() {
	left, err := filepath.Glob("/run/netns/" + nsPrefix + "*")
	if err != nil {
		return
	}
	for _, p := range left {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(p), nsPrefix), "-")
		if _, err := os.Stat("/proc/" + pid); errors.Is(err, os.ErrNotExist) {
			_ = ip("netns", "del", filepath.Base(p)) // the next one tries again
		}
	}
}

func ip(args ...string) error { return run(exec.Command("ip", args...)) }

func ipBatch(ns, lines string) error {
	cmd := exec.Command("ip", "-n", ns, "-batch", "-")
	cmd.Stdin = strings.NewReader(lines)
	return run(cmd)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
