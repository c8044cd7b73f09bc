package site

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Disk is a protected disk of the source.
type Disk struct {
	Name string
	Path string // image file
}

// Options says what to build.
type Options struct {
	BinDir  string // folder of redoubt and redoubtd
	Dir     string // new folder for everything; short, because of socket paths
	Targets int    // nodes of the secondary site; 0: 3
	Data    int    // k; 0: 2
	Parity  int    // m; 0: 1
	Group   string // name of the protection group
	Disks   []Disk
	// JournalMax and Segment bound the source's journal; empty: the defaults
	// of the product.
	JournalMax, Segment string
	JournalDir          string // empty: below the source's folder
	Preallocate         bool   // reserve the journal at the start
	FullWait            string // how long a write waits for room in the journal
	Listen              string // loopback address at which the disks are served over TCP, too
	// Clients are names in client certificates that may use the disks over TCP,
	// on a loopback port; empty: the unix socket only.
	Clients []string
}

// Site is a source and the targets of its secondary site. It is for one
// goroutine, but for Call, which may be used by many.
type Site struct {
	Options
	Source  *Node
	Targets []*Node
	nbdPort int // of the source, for Clients
}

// Node is one host: a configuration and, while it runs, a process.
type Node struct {
	Name string
	Dir  string
	Addr string
	Env  []string // of the next Start, beside this process's own
	proc *process
	bin  string
	join string // address of a member; empty: it is a founder
}

// New makes folders, certificates and configurations. It starts nothing.
func New(ctx context.Context, o Options) (*Site, error) {
	if o.Targets == 0 {
		o.Targets = 3
	}
	if o.Data == 0 {
		o.Data, o.Parity = 2, 1
	}
	s := &Site{Options: o}
	for _, p := range []string{"redoubt", "redoubtd"} {
		if _, err := os.Stat(filepath.Join(o.BinDir, p)); err != nil {
			return nil, fmt.Errorf("program missing (make build): %w", err)
		}
	}
	ports, err := freePorts(o.Targets + 2)
	if err != nil {
		return nil, err
	}
	node := func(name string, port int) *Node {
		return &Node{Name: name, Dir: filepath.Join(o.Dir, name), Addr: fmt.Sprintf("127.0.0.1:%d", port),
			bin: filepath.Join(o.BinDir, "redoubtd")}
	}
	s.Source, s.nbdPort = node("s1", ports[0]), ports[o.Targets+1]
	for i := range o.Targets {
		s.Targets = append(s.Targets, node(fmt.Sprintf("t%d", i+1), ports[i+1]))
	}
	if err := s.certificates(ctx); err != nil {
		return nil, err
	}
	return s, s.configs()
}

// Nodes returns the source and the targets.
func (s *Site) Nodes() []*Node { return append([]*Node{s.Source}, s.Targets...) }

func (s *Site) certificates(ctx context.Context) error {
	ca := filepath.Join(s.Dir, "ca")
	if err := s.run(ctx, "ca", "init", "--dir", ca, "--name", "demo"); err != nil {
		return err
	}
	for _, n := range s.Nodes() {
		if err := s.certificate(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) certificate(ctx context.Context, n *Node) error {
	role := "target"
	if n == s.Source {
		role = "source"
	}
	if err := os.MkdirAll(n.Dir, 0o700); err != nil {
		return err
	}
	return s.Issue(ctx, role, n.Name, filepath.Join(n.Dir, "id"))
}

// NewTarget prepares a further node of the secondary site, which shall join at
// the member at. It starts nothing and invites nobody.
func (s *Site) NewTarget(ctx context.Context, at *Node) (*Node, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	name := fmt.Sprintf("t%d", len(s.Targets)+1)
	n := &Node{Name: name, Dir: filepath.Join(s.Dir, name), Addr: fmt.Sprintf("127.0.0.1:%d", ports[0]), bin: s.Source.bin, join: at.Addr}
	if err := s.certificate(ctx, n); err != nil {
		return nil, err
	}
	s.Targets = append(s.Targets, n)
	return n, s.config(n)
}

// Issue makes a certificate of the site's authority for a role and a name.
func (s *Site) Issue(ctx context.Context, role, name, dir string) error {
	return s.run(ctx, "ca", "issue", "--ca", filepath.Join(s.Dir, "ca"), "--out", dir, "--role", role, "--name", name, "--host", "127.0.0.1")
}

func (s *Site) configs() error {
	for _, n := range s.Nodes() {
		if err := s.config(n); err != nil {
			return err
		}
	}
	return nil
}

func (s *Site) config(n *Node) error {
	var boot, addrs []string
	for _, t := range s.Targets {
		if t.join == "" {
			boot = append(boot, fmt.Sprintf("{name: %s, address: %q}", t.Name, t.Addr))
		}
		addrs = append(addrs, fmt.Sprintf("%q", t.Addr))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\ndata_dir: %s/data\nrun_dir: %s/run\nlisten: %q\nadvertise: %q\nidentity: %s/id\n",
		n.Name, n.Dir, n.Dir, n.Addr, n.Addr, n.Dir)
	b.WriteString("log: {level: info, format: text}\n")
	switch {
	case n.join != "":
		fmt.Fprintf(&b, "target:\n  join: [%q]\n", n.join)
	case n != s.Source:
		fmt.Fprintf(&b, "target:\n  bootstrap: [%s]\n", strings.Join(boot, ", "))
	default:
		fmt.Fprintf(&b, "source:\n  targets: [%s]\n  groups:\n    - name: %s\n", strings.Join(addrs, ", "), s.Group)
		fmt.Fprintf(&b, "      redundancy: {data: %d, parity: %d}\n", s.Data, s.Parity)
		s.journal(&b)
		switch {
		case s.Listen != "":
			fmt.Fprintf(&b, "      nbd: {listen: %q}\n", s.Listen)
		case len(s.Clients) > 0:
			fmt.Fprintf(&b, "      nbd: {listen: \"127.0.0.1:%d\", clients: [%s]}\n", s.nbdPort, strings.Join(s.Clients, ", "))
		}
		b.WriteString("      disks:\n")
		for _, d := range s.Disks {
			fmt.Fprintf(&b, "        - {name: %s, path: %s}\n", d.Name, d.Path)
		}
	}
	return os.WriteFile(n.Config(), []byte(b.String()), 0o600)
}

func (s *Site) journal(b *strings.Builder) {
	var parts []string
	if s.JournalMax != "" {
		parts = append(parts, "max: "+s.JournalMax)
	}
	if s.JournalDir != "" {
		parts = append(parts, "dir: "+s.JournalDir)
	}
	if s.Preallocate {
		parts = append(parts, "preallocate: true")
	}
	if s.FullWait != "" {
		parts = append(parts, "full_wait: "+s.FullWait)
	}
	if s.Segment != "" {
		parts = append(parts, "segment: "+s.Segment)
	}
	if parts != nil {
		fmt.Fprintf(b, "      journal: {%s}\n", strings.Join(parts, ", "))
	}
}

// Config returns the path of the node's configuration.
func (n *Node) Config() string { return filepath.Join(n.Dir, "redoubtd.yaml") }

// AdminSocket returns the path of the node's admin socket.
func (n *Node) AdminSocket() string { return filepath.Join(n.Dir, "run", "admin.sock") }

// LogPath returns the file that holds what the node said.
func (n *Node) LogPath() string { return filepath.Join(n.Dir, "log") }

// Close kills what still runs.
func (s *Site) Close() {
	for _, n := range s.Nodes() {
		n.Kill()
	}
}

// freePorts finds n loopback ports that nobody listens on at the moment.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after the loop: so that they differ
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
