package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// How long a planned failover keeps a client from writing, seen by the client: from
// its last answered write at the source to its first at the secondary. It
// measures and decides nothing; REDOUBT_PLANNED=n makes n rounds of each kind.
func TestPlannedPause(t *testing.T) {
	rounds, err := strconv.Atoi(os.Getenv("REDOUBT_PLANNED"))
	if err != nil {
		t.Skip("a measurement: REDOUBT_PLANNED=5")
	}
	c := &crashBed{bed: newBed(t), epoch: 1}
	c.prod = c.site.Targets[1]
	for _, backlog := range []int{0, 1000, 5000} {
		var pauses, recorded, rtos []time.Duration
		for range rounds {
			c.change(backlog)
			p, r, rto := c.measured()
			pauses, recorded, rtos = append(pauses, p), append(recorded, r), append(rtos, rto)
		}
		t.Logf("| %d | %s | %s | %s |", backlog, spread(pauses), spread(recorded), spread(rtos))
	}
}

// spread is the median and the maximum.
func spread(ds []time.Duration) string {
	p50, top := distribution(ds)
	return fmt.Sprintf("%d (%d) ms", p50.Milliseconds(), top.Milliseconds())
}

// measured fails over under load, comes back by a cancel, and returns the pause that a
// client saw, the one that the job's record says, and the time from the command to the first write.
func (c *crashBed) measured() (pause, recorded, rto time.Duration) {
	c.Helper()
	clients := c.clients()
	var last time.Time // of an answered write
	ended := make(chan error, 1)
	go func() {
		for {
			op := c.work.Next()
			if err := op.Do(clients[op.Disk.ID]); err != nil {
				ended <- err
				return
			}
			last = time.Now()
		}
	}()
	time.Sleep(200 * time.Millisecond) // the load runs
	began := time.Now()
	answer := make(chan error, 1)
	r := &adminv1.PlannedFailoverResponse{}
	go func() { answer <- c.site.Call(c.ctx, c.prod, r, "failover", "planned", groupName) }()
	<-ended
	first := c.firstWrite(filepath.Join(c.prod.Dir, "run", "export", groupName+".sock"))
	c.must(<-answer)
	head := redoubt.Position{Epoch: c.epoch, LSN: c.model.Head(c.epoch)}
	g := c.reach("the failover", isExported)
	c.at(g, head)
	g = c.reach("the cancel", func(g *adminv1.Group) bool { return g.State == "Protected" && g.Job == nil }, "failover", "cancel", groupName)
	c.home(g, head)
	return first.Sub(last), time.Duration(r.Job.PausedMs) * time.Millisecond, first.Sub(began)
}

// firstWrite tries until a write is answered at the socket.
func (c *crashBed) firstWrite(socket string) time.Time {
	c.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		x, err := oracle.Dial(c.ctx, socket, c.disks[0].Name)
		if err == nil {
			err = errors.Join(x.Write(make([]byte, 4096), 0, true), x.Close())
		}
		if err == nil {
			return time.Now()
		}
		if time.Now().After(deadline) {
			c.Fatal(err)
		}
	}
}
