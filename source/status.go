package source

import (
	"time"

	"github.com/redoubt-dr/redoubt"
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
	Head    redoubt.Position
	HeadAt  time.Time
	Durable redoubt.LSN
	Applied redoubt.LSN
	Tail    redoubt.LSN
	Journal journal.Stats
	Acked   redoubt.LSN // everything up to it is safe at the secondary
	AckedAt time.Time   // time of the oldest write that is not; zero if there is none

	CopyDone, CopyTotal uint64
	CopyComplete        bool

	Sender     *ship.SenderStatus // nil unless shipping
	Welcome    *ship.Welcome      // what the secondary said last; nil before the first contact
	ReverseOn  bool               // a master target writes to the disks
	HasReceipt bool
	Err        error // latched failure
}

// Status returns a snapshot of the group.
func (g *Group) Status() Status {
	s := Status{
		ID: g.cfg.Name, UUID: g.id.UUID, Disks: g.id.Disks, Socket: g.socket, Paths: map[string]string{},
		Head: g.journal.Head(), HeadAt: time.Unix(0, g.journal.HeadTime()), Durable: g.journal.Durable(),
		Applied: g.journal.Applied(), Tail: g.journal.Tail(), Journal: g.journal.Stats(),
		Acked: g.cursor.Acked(), Err: g.journal.Err(),
	}
	for _, d := range g.cfg.Disks {
		s.Paths[d.Name] = d.Path
	}
	s.CopyDone, s.CopyTotal, s.CopyComplete = g.copy.Progress()
	if s.Acked < s.Head.LSN {
		if ws, err := g.cursor.Read(s.Acked+1, 1); err == nil && len(ws) > 0 {
			s.AckedAt = ws[0].When()
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
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
