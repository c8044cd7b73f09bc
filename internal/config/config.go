package config

import (
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

// Config is the configuration of one redoubtd. A nil Source or Target means
// that the daemon does not have that role.
type Config struct {
	Name      string  `yaml:"name"`      // node name; equals the name in the certificate
	DataDir   string  `yaml:"data_dir"`  // journals, shard logs, catalog
	RunDir    string  `yaml:"run_dir"`   // sockets
	Listen    string  `yaml:"listen"`    // HOST:PORT of the one TLS port
	Advertise string  `yaml:"advertise"` // HOST:PORT under which others reach it
	Identity  string  `yaml:"identity"`  // folder with node.crt, node.key, ca.crt
	Log       Log     `yaml:"log"`
	Metrics   Metrics `yaml:"metrics"`
	Scripts   string  `yaml:"scripts"` // folder of the scripts that recovery plans may run here; empty: none
	Source    *Source `yaml:"source"`
	Target    *Target `yaml:"target"`
}

// Log says what is logged and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text, json
}

// Metrics says where Prometheus metrics, health and profiles are served.
type Metrics struct {
	Listen string `yaml:"listen"` // "unix:/PATH", "HOST:PORT" or "off"
}

// Source makes the daemon protect disks of its host.
type Source struct {
	Targets []string `yaml:"targets"` // HOST:PORT of master targets; any one that answers is enough
	Groups  []Group  `yaml:"groups"`
}

// Group is a protection group.
type Group struct {
	Name       string     `yaml:"name"`
	Journal    Journal    `yaml:"journal"`
	Redundancy Redundancy `yaml:"redundancy"`
	Memory     Size       `yaml:"memory"` // bound on writes held in memory until they are applied
	NBD        NBD        `yaml:"nbd"`
	Verify     Verify     `yaml:"verify"`
	Disks      []Disk     `yaml:"disks"`
	Hooks      Hooks      `yaml:"hooks"`
	// BookmarkEvery is the time between two bookmarks that nobody asks for; 0: none.
	BookmarkEvery Duration `yaml:"bookmark_every"`
	// Lease is after how long without the secondary the disks take no writes; 0: they do.
	Lease Duration `yaml:"lease"`
}

// Hooks says what brings a group's applications to rest for a bookmark.
type Hooks struct {
	Mounts  []string `yaml:"mounts"`  // mount points on this host of file systems on the group's disks
	Scripts string   `yaml:"scripts"` // folder; empty: none
	Time    Duration `yaml:"time"`    // limit of each script and each mount point
	Hold    Duration `yaml:"hold"`    // from the first step on; everything is thawed at its end
}

// Journal says where a group's journal lies and what happens when it is full.
type Journal struct {
	Dir     string `yaml:"dir"`
	Max     Size   `yaml:"max"`     // bound on the segment files
	Segment Size   `yaml:"segment"` // size of one segment file
	// Preallocate reserves Max on disk when the daemon starts for the first time.
	Preallocate bool `yaml:"preallocate"`

	OnFull   string   `yaml:"on_full"`   // block
	FullWait Duration `yaml:"full_wait"` // how long a write waits for room before it fails
}

// Redundancy is the Reed-Solomon policy that the group asks for at its first
// contact: any Parity nodes of the secondary may be lost.
type Redundancy struct {
	Data   int `yaml:"data"`
	Parity int `yaml:"parity"`
}

// NBD is the group's NBD service beside its unix socket.
type NBD struct {
	Listen  string   `yaml:"listen"`  // HOST:PORT, of the loopback unless there are Clients; empty: the unix socket only
	Clients []string `yaml:"clients"` // names in client certificates; not empty: TLS only
	// ReadMemory bounds the buffers of slow reads of all the group's clients, also of those on the unix socket.
	ReadMemory Size `yaml:"read_memory"`
}

// Verify says how often and how fast a group's disks are compared with the
// secondary.
type Verify struct {
	Every Duration `yaml:"every"` // from the end of a comparison to the next; 0: only when asked
	Rate  Size     `yaml:"rate"`  // bytes a second that are read at most
}

// Disk is one protected disk.
type Disk struct {
	Name string `yaml:"name"` // also the NBD export's name
	Path string `yaml:"path"` // image file or block device
}

// Target makes the daemon a master target.
type Target struct {
	Bootstrap    []Node   `yaml:"bootstrap"`     // all nodes of a new cluster; the same list on each
	Join         []string `yaml:"join"`          // HOST:PORT of members of the cluster that invited this node; instead of Bootstrap
	Domain       string   `yaml:"domain"`        // what fails together with this node; may be empty
	OwnerTimeout Duration `yaml:"owner_timeout"` // a silent owner is replaced after it
	Cache        Size     `yaml:"cache"`         // bound on the memory for shards and index
	Retention    string   `yaml:"retention"`     // policy of groups for which nobody chose one, such as every=15m,1s=1d
	Hydrate      string   `yaml:"hydrate"`       // which exported points are copied to the exporting node: none, failover, all
	HydrateRate  Size     `yaml:"hydrate_rate"`  // bytes a second of each copy
	Scrub        Scrub    `yaml:"scrub"`
	Repair       Repair   `yaml:"repair"`
	CompareRate  Size     `yaml:"compare_rate"` // bytes a second that are read at most to be compared with sources
	Checks       Checks   `yaml:"checks"`
}

// Checks says how this node checks recovery points.
type Checks struct {
	Scripts  string      `yaml:"scripts"` // folder; empty: this node checks nothing
	Time     Duration    `yaml:"time"`    // limit of a script
	Schedule []Scheduled `yaml:"schedule"`
}

// Scheduled is a check that nobody asks for.
type Scheduled struct {
	Group  string   `yaml:"group"`
	Script string   `yaml:"script"` // name
	At     string   `yaml:"at"`     // latest or latest-app
	Every  Duration `yaml:"every"`
	Hash   bool     `yaml:"hash"` // read all of the disks
}

// Scrub says how often and how fast a master target reads all that it stores.
type Scrub struct {
	Rate  Size     `yaml:"rate"`  // bytes a second at most; 0: never
	Every Duration `yaml:"every"` // from the beginning of a pass to that of the next
}

// Repair says how fast a master target rebuilds shards.
type Repair struct {
	Rate Size     `yaml:"rate"` // bytes a second at most
	Lag  Duration `yaml:"lag"`  // how long a delta may wait for its commit before repair gives way
}

// Node is a master target in the bootstrap list.
type Node struct {
	Name    redoubt.NodeID `yaml:"name"`
	Address string         `yaml:"address"`
}

// AdminSocket returns the path of the local admin socket.
func (c *Config) AdminSocket() string { return filepath.Join(c.RunDir, "admin.sock") }

// NBDSocket returns the path of the socket that serves group's disks at the
// source.
func (c *Config) NBDSocket(group string) string {
	return filepath.Join(c.RunDir, group+".sock")
}

// ExportSocket returns the path of the socket that serves the export id at a
// target.
func (c *Config) ExportSocket(id string) string {
	return filepath.Join(c.RunDir, "export", id+".sock")
}

// Roles returns the daemon's roles: "source", "target" or both.
func (c *Config) Roles() []string {
	var out []string
	if c.Source != nil {
		out = append(out, "source")
	}
	if c.Target != nil {
		out = append(out, "target")
	}
	return out
}
