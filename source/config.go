package source

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// Config describes a source host.
type Config struct {
	Name      string   // the host's name, as in its certificate
	DataDir   string   // groups live in DataDir/groups/NAME
	RunDir    string   // NBD sockets: RunDir/GROUP.sock
	Advertise string   // where the secondary reaches this host for the way back
	Targets   []string // addresses of master targets; any one that answers will do
	Groups    []GroupConfig

	// Credentials are the host's own, for NBD over TLS. Nil: groups with Clients
	// are refused.
	Credentials *pki.Credentials

	// Sockets are the listening sockets that outlive this Host. Nil: none does.
	Sockets *handover.Sockets

	Dial   func(ctx context.Context, addr string) (net.Conn, error) // to a master target's shipping port
	Logger *slog.Logger
	Now    func() time.Time
}

// GroupConfig describes a protection group.
type GroupConfig struct {
	Name         redoubt.GroupID
	JournalDir   string // default: DataDir/groups/NAME/journal
	JournalMax   int64  // bytes; 0 is the journal's default
	Preallocate  bool   // reserve JournalMax on disk at the first start
	SegmentSize  int64  // bytes; 0 is the journal's default
	FullWait     time.Duration
	MemoryLimit  int64    // bytes of unapplied data; 0 is the default
	K, M         int      // wanted redundancy: data and parity shards
	Listen       string   // HOST:PORT for NBD over TCP beside the unix socket; loopback unless there are Clients; empty: none
	Clients      []string // names in certificates of pki.RoleClient that may use the disks over TCP; not empty: TLS is forced
	ReadMemory   int64    // bytes of buffers for slow NBD reads; 0 is the default
	ShipRate     int64    // bytes a second; 0 is unlimited
	Disks        []DiskConfig
	PollInterval time.Duration // how often a fenced source asks; default 1 s

	// Freeze is a script that is run with "freeze" before a planned failover stops
	// the clients, and with "thaw" when they go on or are fenced; empty: none.
	// FreezeTimeout bounds each run; default 30 s.
	Freeze        string
	FreezeTimeout time.Duration
}

// DiskConfig names a protected disk and the image file or block device behind it.
type DiskConfig struct {
	Name string
	Path string
}

const defaultFreezeTimeout = 30 * time.Second

func (c *GroupConfig) validate() error {
	if err := redoubt.ValidName("group name", string(c.Name)); err != nil {
		return err
	}
	if len(c.Disks) == 0 {
		return &redoubt.Error{Op: "check group", Object: string(c.Name), Hint: "give the group at least one disk", Err: redoubt.ErrInvalid}
	}
	seen := map[string]bool{}
	for _, d := range c.Disks {
		if err := redoubt.ValidName("disk name", d.Name); err != nil {
			return err
		}
		if seen[d.Name] {
			return &redoubt.Error{Op: "check group", Object: string(c.Name), Hint: "disk " + d.Name + " is listed twice", Err: redoubt.ErrInvalid}
		}
		seen[d.Name] = true
	}
	return nil
}

func (c *Config) groupDir(g redoubt.GroupID) string {
	return filepath.Join(c.DataDir, "groups", string(g))
}
