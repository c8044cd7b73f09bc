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
	Paths   map[string]string // disk name to image path
	Socket  string
	Remote  Remote
	Head    redoubt.Position
	HeadAt  time.Time
	Durable redoubt.LSN
	Applied redoubt.LSN
	Tail    redoubt.LSN
	Journal journal.Stats
	Figures journal.Figures
	Images  blockdev.Stats
	Clients map[string]int // disk name to NBD connections
	Acked   redoubt.LSN    // everything up to it is safe at the secondary
	AckedAt time.Time      // time of the oldest write that is not; zero if there is none

	CopyDone, CopyTotal uint64
	CopyComplete        bool
	Baseline            redoubt.LSN // last record of the copy; 0 until it is complete

	Sender     *ship.SenderStatus // nil unless shipping
	Welcome    *ship.Welcome      // what the secondary said last; nil before the first contact
	ReverseOn  bool               // a master target writes to the disks
	ContactAt  time.Time          // when the secondary answered last, other than on a stream
	HasReceipt bool
	Stopped    *Stopped // nil unless a planned failover has stopped the clients
	Err        error    // latched failure
}

// Remote is where NBD clients reach a group over TCP.
type Remote struct {
	Addr net.Addr // that is listened on; nil if there is none
	TLS  bool     // demanded, with a client certificate
}

// Status returns a snapshot of the group.
func (g *Group) Status() Status {
	s := Status{
		ID: g.cfg.Name, UUID: g.id.UUID, Disks: g.id.Disks, Socket: g.socket, Remote: Remote{g.listening, len(g.cfg.Clients) > 0}, Paths: map[string]string{},
		Head: g.journal.Head(), HeadAt: time.Unix(0, g.journal.HeadTime()), Durable: g.journal.Durable(),
		Applied: g.journal.Applied(), Tail: g.journal.Tail(), Journal: g.journal.Stats(), Figures: g.journal.Figures(), Images: g.disks.Stats(), Clients: map[string]int{},
		Acked: g.cursor.Acked(), Err: g.journal.Err(),
	}
	for _, d := range g.cfg.Disks {
		s.Paths[d.Name], s.Clients[d.Name] = d.Path, g.server.Clients(d.Name)
	}
	s.CopyDone, s.CopyTotal, s.CopyComplete = g.copy.Progress()
	s.Baseline = g.copy.baseline()
	if s.Acked < s.Head.LSN {
		if ws, err := g.cursor.Read(s.Acked+1, 1); err == nil && len(ws) > 0 {
			s.AckedAt = ws[0].When()
		}
	}
	switch {
	case s.Err != nil:
	case g.disks.Err() != nil:
		s.Err = g.disks.Err()
	case s.Journal.NoSpace != nil:
		s.Err = &redoubt.Error{Op: "grow journal of", Object: string(s.ID), Err: s.Journal.NoSpace,
			Hint: "writes wait and then fail; free space on the journal's file system: nothing is lost, and writes go on by themselves"}
	}
	s.Stopped = g.stoppedStatus()
	g.mu.Lock()
	defer g.mu.Unlock()
	s.ContactAt = g.contactAt
	s.Role, s.Whole = g.role, g.role.Whole(s.Head.LSN)
	if g.sender != nil {
		st := g.sender.Status()
		s.Sender = &st
	}
	if g.welcome != nil {
		w := *g.welcome
		s.Welcome = &w
	}
	s.ReverseOn, s.HasReceipt = g.replica != nil, g.receipt != nil
	return s
}

// Bookmark names the present position and returns it, once it is durable here.
func (g *Group) Bookmark(name string) (redoubt.Position, time.Time, error) {
	if err := redoubt.ValidName("bookmark", name); err != nil {
		return redoubt.Position{}, time.Time{}, err
	}
	g.step.Lock() // the last write of a stopped source is its last record
	defer g.step.Unlock()
	if s, stopped := g.held(); stopped {
		return redoubt.Position{}, time.Time{}, g.stopError(s.Job)
	}
	if r := g.Role(); r.Mode != ModeWriter {
		return redoubt.Position{}, time.Time{}, &redoubt.Error{Op: "add bookmark", Object: name, Err: redoubt.ErrState,
			Hint: "this host is not the group's writer at present"}
	}
	ws := []redoubt.Write{{Kind: redoubt.KindBookmark, Data: []byte(name), CRC: redoubt.Checksum([]byte(name))}}
	if err := g.disks.AppendControl(ws); err != nil {
		return redoubt.Position{}, time.Time{}, err
	}
	if err := g.flush(ws[0].LSN); err != nil {
		return redoubt.Position{}, time.Time{}, err
	}
	return redoubt.Position{Epoch: g.journal.Epoch(), LSN: ws[0].LSN}, ws[0].When(), nil
}
