package site

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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
	OnFull              string // what a full journal does; empty: the default of the product
	Listen              string // loopback address at which the disks are served over TCP, too
	// Clients are names in client certificates that may use the disks over TCP,
	// on a loopback port; empty: the unix socket only.
	Clients []string
	Hooks   string // folder of the group's freeze hooks
	Checks  string // folder of the targets' check scripts
	// Hosts are where the nodes live, the source first; empty: all on loopback.
	// NewTarget takes those behind the first targets.
	Hosts []Host
}

// Host is a place with a network of its own.
type Host struct {
	Addr string   // under which the others reach it
	In   []string // beginning of a command line that runs a program there
}

// Site is a source and the targets of its secondary site. It is for one
// goroutine, but for Call, which may be used by many.
type Site struct {
	Options
	Source  *Node
	Targets []*Node
	Ports   []int  // of source and targets, for Again
	nbdPort int    // of the source, for Clients
	hosts   []Host // where nobody lives yet
	named   int    // targets so far, those that are gone included
}

// Node is one host: a configuration and, while it runs, a process.
type Node struct {
	Name string
	Dir  string
	Addr string
	Env  []string // of the next Start, beside this process's own
	proc *process
	bin  string
	in   []string // see Host
	join string   // address of a member; empty: it is a founder
}

// New makes folders, certificates and configurations. It starts nothing.
func New(ctx context.Context, o Options) (*Site, error) {
	o.defaults()
	ports, err := freePorts(o.Targets + 2)
	if err != nil {
		return nil, err
	}
	s, err := lay(o, ports)
	if err != nil {
		return nil, err
	}
	if err := s.certificates(ctx); err != nil {
		return nil, err
	}
	return s, s.configs()
}

// Again returns the site that New made in o.Dir before, with the same options.
func Again(o Options, ports []int) (*Site, error) {
	o.defaults()
	if len(ports) != o.Targets+2 {
		return nil, fmt.Errorf("%d ports of a site with %d targets", len(ports), o.Targets)
	}
	return lay(o, ports)
}

func (o *Options) defaults() {
	if o.Targets == 0 {
		o.Targets = 3
	}
	if o.Data == 0 {
		o.Data, o.Parity = 2, 1
	}
}

// lay names the nodes of a site.
func lay(o Options, ports []int) (*Site, error) {
	s := &Site{Options: o, Ports: ports, hosts: o.Hosts}
	for _, p := range []string{"redoubt", "redoubtd"} {
		if _, err := os.Stat(filepath.Join(o.BinDir, p)); err != nil {
			return nil, fmt.Errorf("program missing (make build): %w", err)
		}
	}
	if len(o.Hosts) != 0 && len(o.Hosts) < o.Targets+1 {
		return nil, fmt.Errorf("%d hosts for a source and %d targets", len(o.Hosts), o.Targets)
	}
	s.Source, s.nbdPort = s.node("s1", ports[0]), ports[o.Targets+1]
	for i := range o.Targets {
		s.Targets = append(s.Targets, s.node(fmt.Sprintf("t%d", i+1), ports[i+1]))
	}
	s.named = o.Targets
	return s, nil
}

const loopback = "127.0.0.1"

// node prepares a node at the next host.
func (s *Site) node(name string, port int) *Node {
	h := Host{Addr: loopback}
	if len(s.hosts) > 0 {
		h, s.hosts = s.hosts[0], s.hosts[1:]
	}
	return &Node{Name: name, Dir: filepath.Join(s.Dir, name), Addr: net.JoinHostPort(h.Addr, strconv.Itoa(port)),
		bin: filepath.Join(s.BinDir, "redoubtd"), in: h.In}
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
	host, _, err := net.SplitHostPort(n.Addr)
	if err != nil {
		return err
	}
	return s.issue(ctx, role, n.Name, host, filepath.Join(n.Dir, "id"))
}

// NewTarget prepares a further node of the secondary site, which shall join at
// the member at. It starts nothing and invites nobody.
func (s *Site) NewTarget(ctx context.Context, at *Node) (*Node, error) {
	ports, err := freePorts(1)
	if err != nil {
		return nil, err
	}
	if len(s.Hosts) > 0 && len(s.hosts) == 0 {
		return nil, errors.New("no host is left for a further target")
	}
	s.named++
	n := s.node(fmt.Sprintf("t%d", s.named), ports[0])
	n.join = at.Addr
	if err := s.certificate(ctx, n); err != nil {
		return nil, err
	}
	s.Targets = append(s.Targets, n)
	return n, s.config(n)
}

// Forget takes a target that is gone for good out of the site, and out of the
// configuration with which the source starts the next time.
func (s *Site) Forget(gone *Node) error {
	gone.Kill()
	s.Targets = slices.DeleteFunc(s.Targets, func(n *Node) bool { return n == gone })
	return s.config(s.Source)
}

// SetDisks gives the source other disks, with its next start.
func (s *Site) SetDisks(disks ...Disk) error {
	s.Disks = disks
	return s.config(s.Source)
}

// Issue makes a certificate of the site's authority for a role and a name.
func (s *Site) Issue(ctx context.Context, role, name, dir string) error {
	return s.issue(ctx, role, name, loopback, dir)
}

func (s *Site) issue(ctx context.Context, role, name, host, dir string) error {
	return s.run(ctx, "ca", "issue", "--ca", filepath.Join(s.Dir, "ca"), "--out", dir, "--role", role, "--name", name, "--host", host)
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
		if s.Hooks != "" {
			fmt.Fprintf(&b, "      hooks: {scripts: %s}\n", s.Hooks)
		}
	}
	if n != s.Source && s.Checks != "" {
		fmt.Fprintf(&b, "  checks: {scripts: %s, time: 8s}\n", s.Checks)
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
	if s.OnFull != "" {
		parts = append(parts, "on_full: "+s.OnFull)
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
