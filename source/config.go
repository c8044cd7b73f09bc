package source

import (
	"context"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
	"github.com/redoubt-dr/redoubt/internal/hook"
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

	Dial func(ctx context.Context, addr string) (net.Conn, error) // to a master target's shipping port
	// DialCompare reaches a master target to compare hashes with it. Nil: groups
	// cannot be verified.
	DialCompare func(ctx context.Context, addr string) (net.Conn, error)

	Logger *slog.Logger
	Now    func() time.Time

	room *copyRoom // of all groups; set by Open
}

// GroupConfig describes a protection group.
type GroupConfig struct {
	Name        redoubt.GroupID
	JournalDir  string // default: DataDir/groups/NAME/journal
	JournalMax  int64  // bytes; 0 is the journal's default
	Preallocate bool   // reserve JournalMax on disk at the first start
	SegmentSize int64  // bytes; 0 is the journal's default
	FullWait    time.Duration
	Track       bool          // a full journal gives up what was not shipped, in place of holding writes back
	MemoryLimit int64         // bytes of unapplied data; 0 is the default
	K, M        int           // wanted redundancy: data and parity shards
	Listen      string        // HOST:PORT for NBD over TCP beside the unix socket; loopback unless there are Clients; empty: none
	Clients     []string      // names in certificates of pki.RoleClient that may use the disks over TCP; not empty: TLS is forced
	ReadMemory  int64         // bytes of buffers for slow NBD reads; 0 is the default
	ShipRate    int64         // bytes a second; 0 is unlimited
	CompareRate int64         // bytes a second that comparisons read at most; 0 is unlimited
	VerifyEvery time.Duration // from the end of a comparison to the next; 0: only when asked
	Disks       []DiskConfig
	Hooks       Hooks
	// Lease is after how long without an answer of the secondary this side takes no
	// writes, until there is one; 0: it writes on.
	Lease time.Duration
	// BookmarkEvery is the time between two bookmarks that nobody asks for; 0: none.
	BookmarkEvery time.Duration
	PollInterval  time.Duration // how often a fenced source asks; default 1 s
}

// Hooks says what brings a group's applications to rest for a bookmark. The
// zero value: nothing does.
type Hooks struct {
	Mounts  []string      // mount points of file systems on the group's disks
	Scripts hook.Dir      // folder
	Time    time.Duration // limit of each of them
	Hold    time.Duration // everything is thawed so long after the first began
}

// DiskConfig names a protected disk and the image file or block device behind it.
type DiskConfig struct {
	Name string
	Path string
}

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
