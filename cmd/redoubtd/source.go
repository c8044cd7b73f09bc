package main

import (
	"context"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/hook"
	"github.com/redoubt-dr/redoubt/internal/netmux"
	"github.com/redoubt-dr/redoubt/internal/pki"
	"github.com/redoubt-dr/redoubt/source"
)

// sourceRole runs a source.Host.
type sourceRole struct {
	node *node
	host *source.Host
	end  context.CancelFunc
	runs bool
	done chan struct{}
	ctx  context.Context
}

func openSource(n *node) (*sourceRole, error) {
	c := n.cfg.Source
	sc := source.Config{
		Name: n.cfg.Name, DataDir: n.cfg.DataDir, RunDir: n.cfg.RunDir, Advertise: n.cfg.Advertise, Targets: c.Targets,
		Credentials: n.cred, Sockets: n.sockets, Dial: n.dial(netmux.ProtoShip, pki.RoleTarget), Logger: n.log,
		DialCompare: n.dial(netmux.ProtoCompare, pki.RoleTarget),
	}
	for _, g := range c.Groups {
		gc := source.GroupConfig{
			Name: redoubt.GroupID(g.Name), JournalDir: g.Journal.Dir, JournalMax: int64(g.Journal.Max), Preallocate: g.Journal.Preallocate, SegmentSize: int64(g.Journal.Segment),
			FullWait: time.Duration(g.Journal.FullWait), Track: g.Journal.OnFull == "track", MemoryLimit: int64(g.Memory), K: g.Redundancy.Data, M: g.Redundancy.Parity, Listen: g.NBD.Listen, Clients: g.NBD.Clients, ReadMemory: int64(g.NBD.ReadMemory),
			Hooks:         source.Hooks{Mounts: g.Hooks.Mounts, Scripts: hook.Dir(g.Hooks.Scripts), Time: time.Duration(g.Hooks.Time), Hold: time.Duration(g.Hooks.Hold)},
			BookmarkEvery: time.Duration(g.BookmarkEvery), Lease: time.Duration(g.Lease),
		}
		gc.CompareRate, gc.VerifyEvery = int64(g.Verify.Rate), time.Duration(g.Verify.Every)
		for _, d := range g.Disks {
			gc.Disks = append(gc.Disks, source.DiskConfig{Name: d.Name, Path: d.Path})
		}
		sc.Groups = append(sc.Groups, gc)
	}
	h, err := source.Open(sc)
	if err != nil {
		return nil, err
	}
	s := &sourceRole{node: n, host: h, done: make(chan struct{})}
	s.ctx, s.end = context.WithCancel(context.Background())
	return s, nil
}

func (s *sourceRole) start() {
	s.runs = true
	go func() {
		s.host.Run(s.ctx)
		close(s.done)
	}()
}

func (s *sourceRole) close() error {
	s.end()
	if s.runs {
		<-s.done
	}
	if s.node.next == nil {
		return s.host.Close()
	}
	var err error
	s.node.next.Conns, err = s.host.HandOver()
	return err
}
