package source

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/handover"
)

const (
	// applyAhead bounds the time in which memory is written to the disks while
	// clients are still served, so that little is left when they are not.
	applyAhead = 30 * time.Second
	// boundaryWait is what a client gets to come to a request boundary.
	boundaryWait = 10 * time.Second
)

// HandOver is Close for a planned restart: it returns the NBD connections that
// can go on in the next life, between two requests each. The connections of a
// group that could not be closed cleanly are closed, too: its error is returned
// beside those of the others.
func (h *Host) HandOver() ([]handover.Conn, error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	var out []handover.Conn
	var errs []error
	for _, g := range h.groups {
		wg.Go(func() {
			conns, err := g.handOver()
			mu.Lock()
			defer mu.Unlock()
			out, errs = append(out, conns...), append(errs, err)
		})
	}
	wg.Wait()
	return out, errors.Join(errs...)
}

func (g *Group) handOver() ([]handover.Conn, error) {
	if err := g.freezer.Close(); err != nil { // said again by the next life, which tries again
		g.log.Error("not everything is thawed", "err", err, "hint", redoubt.Hint(err))
	}
	ctx, cancel := context.WithTimeout(context.Background(), applyAhead)
	_ = g.disks.Drain(ctx) // close does it again, and says what is wrong
	cancel()
	began := time.Now()
	conns := g.server.Retire(boundaryWait)
	err := errors.Join(g.journal.Err(), g.close())
	if err != nil {
		for i := range conns {
			conns[i].End()
		}
		return nil, err
	}
	for i := range conns {
		conns[i].Group, conns[i].Disk = string(g.cfg.Name), g.behind(conns[i].Export)
	}
	g.log.Info("group closed for a restart", "handed_over", len(conns), "took", time.Since(began).Round(time.Millisecond))
	return conns, nil
}

// behind says what an export shows: the same name may stand for another disk
// in the next life's configuration, and no client may go on with that.
func (g *Group) behind(export string) string {
	for _, d := range g.cfg.Disks {
		if d.Name == export {
			return g.id.UUID + " " + d.Path
		}
	}
	return ""
}

// Adopt goes on with connections that HandOver returned in an earlier life. What
// cannot go on is closed, and the log says why.
func (h *Host) Adopt(conns []handover.Conn) {
	for _, c := range conns {
		name := c.Export
		g, err := h.Group(redoubt.GroupID(c.Group))
		if err != nil {
			c.End()
		} else {
			err = g.adopt(c)
		}
		if err != nil {
			h.cfg.Logger.Warn("NBD connection closed: it cannot go on after the restart", "group", c.Group, "export", name, "err", err, "hint", redoubt.Hint(err))
		}
	}
}

func (g *Group) adopt(c handover.Conn) error {
	fail := func(hint string) error {
		c.End()
		return &redoubt.Error{Op: "take over NBD connection to", Object: c.Export, Err: redoubt.ErrDenied, Hint: hint}
	}
	if c.Disk != g.behind(c.Export) {
		return fail("the export shows another disk now; the client must connect again")
	}
	tcp, err := c.TCP()
	if c.FD >= 0 && (err != nil || tcp) && (g.cfg.Listen == "" || len(g.cfg.Clients) > 0) {
		return fail("the group takes no plain TCP clients any more")
	}
	return g.server.Adopt(c)
}
