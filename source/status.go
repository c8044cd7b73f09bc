package source

import (
	"net"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/ship"
)

// Status is a snapshot of a group at its source.
type Status struct {
	ID      redoubt.GroupID
	UUID    string
	Role    Role
	Whole   bool // the disks are one point in history
	Disks   []redoubt.Disk
	Gone    []redoubt.Disk   // those that were removed
	Joining []redoubt.DiskID // those of Disks that are being added: points do not have them yet
	// JoinDone and JoinTotal are bytes of the first of Joining.
	JoinDone, JoinTotal uint64
	Paths               map[string]string // disk name to image path
	Socket              string
	Remote              Remote
	Head                redoubt.Position
	HeadAt              time.Time
	Durable             redoubt.LSN
	Applied             redoubt.LSN
	Tail                redoubt.LSN
	Journal             journal.Stats
	Figures             journal.Figures
	Images              blockdev.Stats
	Clients             map[string]int // disk name to NBD connections
	Acked               redoubt.LSN    // everything up to it is safe at the secondary
	AckedAt             time.Time      // time of the oldest write that is not; zero if there is none

	CopyDone, CopyTotal uint64
	CopyComplete        bool
	CopyDiffering       uint64      // bytes that differed, if Comparing
	Comparing           bool        // the copy is a resynchronisation by hashes
	Lost                string      // why the secondary takes nothing from here; empty: it does
	CopyAgain           bool        // the copy follows older points: the group was protected again
	Baseline            redoubt.LSN // last record of the copy; 0 until it is complete

	Hold ship.Hold // why the writes are kept here; its State is "" if they are shipped
	Ask  *ship.Ask // what was asked for here and the secondary has not heard yet
	// Lasts is how long the journal has room while nothing of it goes, at the
	// rate of writes of the last minutes; 0: nothing is written.
	Lasts time.Duration

	Sender     *ship.SenderStatus // nil unless shipping
	Welcome    *ship.Welcome      // what the secondary said last; nil before the first contact
	ReverseOn  bool               // a master target writes to the disks
	ContactAt  time.Time          // when the secondary answered last, other than on a stream
	HasReceipt bool
	Stopped    *Stopped // nil unless a planned failover has stopped the clients
	Bookmarks  Bookmarks
	LeaseOver  bool  // the disks take no writes for want of contact
	Err        error // latched failure

	Track    bool          // a full journal gives up records
	FullWait time.Duration // how long a write waits for room, if not
	Gap      journal.Gap   // what was given up and is not caught up; see GapOn
	GapOn    bool
}

// Remote is where NBD clients reach a group over TCP.
type Remote struct {
	Addr net.Addr // that is listened on; nil if there is none
	TLS  bool     // demanded, with a client certificate
}

// Status returns a snapshot of the group.
func (g *Group) Status() Status {
	s := Status{
		ID: g.cfg.Name, UUID: g.uuid(), Disks: g.Disks(), Gone: g.gone(), Socket: g.socket, Remote: Remote{g.listening, len(g.cfg.Clients) > 0}, Paths: map[string]string{},
		Head: g.journal.Head(), HeadAt: time.Unix(0, g.journal.HeadTime()), Durable: g.journal.Durable(),
		Applied: g.journal.Applied(), Tail: g.journal.Tail(), Journal: g.journal.Stats(), Figures: g.journal.Figures(), Images: g.disks.Stats(), Clients: map[string]int{},
		Err: g.journal.Err(),
	}
	for _, d := range g.cfg.Disks {
		s.Paths[d.Name], s.Clients[d.Name] = d.Path, g.server.Clients(d.Name)
	}
	s.CopyDone, s.CopyTotal, s.CopyComplete = g.copy.Progress()
	s.Joining = g.joining()
	s.JoinDone, s.JoinTotal, _ = g.adds.Progress()
	s.CopyDiffering, s.Comparing = g.copy.Differing()
	s.Baseline, s.CopyAgain = g.copy.baseline()
	if c := g.secondary(); c != nil {
		s.Acked = c.Acked()
		if ws, err := c.Read(s.Acked+1, 1); s.Acked < s.Head.LSN && err == nil && len(ws) > 0 {
			s.AckedAt = ws[0].When()
		}
	}
	s.Lasts, _ = g.outlook.lasts(s.Journal.MaxBytes - s.Journal.UsedBytes)
	s.Track, s.FullWait = g.cfg.Track, g.cfg.FullWait
	if s.Gap, s.GapOn = g.journal.Gap(); s.GapOn {
		s.AckedAt = time.Unix(0, s.Gap.Since)
	}
	switch {
	case s.Err != nil:
	case g.disks.Err() != nil:
		s.Err = g.disks.Err()
	case s.Journal.NoSpace != nil:
		hint := "writes wait and then fail; free space on the journal's file system: nothing is lost, and writes go on by themselves"
		if g.cfg.Track {
			hint = "what is not shipped is given up, and caught up later, so that writes go on; free space on the journal's file system, or make journal.max fit"
		}
		s.Err = &redoubt.Error{Op: "grow journal of", Object: string(s.ID), Err: s.Journal.NoSpace, Hint: hint}
	}
	s.Stopped = g.stoppedStatus()
	s.Bookmarks = g.Bookmarks()
	g.mu.Lock()
	defer g.mu.Unlock()
	s.ContactAt, s.Hold, s.Ask = g.contactAt, g.hold.Hold, g.hold.Ask
	s.Role, s.Whole = g.role, g.role.Whole(s.Head.LSN)
	if g.sender != nil {
		st := g.sender.Status()
		s.Sender = &st
	}
	if g.welcome != nil {
		w := *g.welcome
		s.Welcome = &w
	}
	s.Lost, s.LeaseOver = g.lost, g.lease.over && g.role.Mode == ModeWriter
	s.ReverseOn, s.HasReceipt = g.replica != nil, g.receipt != nil
	return s
}
