package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// Options says how the demo runs.
type Options struct {
	BinDir  string    // folder of redoubt and redoubtd
	WorkDir string    // folder for everything; empty: a new one under the temporary folder
	Keep    bool      // leave WorkDir behind
	Out     io.Writer // report
	JSON    bool      // one JSON document (Result) instead of text
	Seed    uint64    // of the workload; 0: from the clock
}

const (
	group    = "shop"
	fsSize   = 256 << 20
	rawSize  = 64 << 20
	patience = 45 * time.Second // for anything that should take a second or two
)

// tour is one run of the demo.
type tour struct {
	*report
	o    Options
	dir  string
	site *site.Site
	tree string

	disks []redoubt.Disk
	model *oracle.Model
	state *oracle.State
	relay *oracle.Relay // in front of the present writer
	mount *site.Mount   // of the file system, behind the relay; nil without one
	load  *load
	epoch redoubt.Epoch

	down      *site.Node // the target that was killed
	prod      *site.Node // the target that exports production
	killedAt  time.Time  // of the source
	marks     marks
	judgments int
}

// marks are the moments that are opened later.
type marks struct {
	early, middle redoubt.LSN
	second        time.Time
}

// Run runs the demo. It returns the first thing that does not hold, after the
// report has said it. It leaves no process, mount or loop device behind.
func Run(ctx context.Context, o Options) (err error) {
	if o.Seed == 0 {
		o.Seed = uint64(time.Now().UnixNano())
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	t := &tour{o: o, report: &report{out: o.Out, json: o.JSON, start: time.Now(), res: Result{Seed: o.Seed}}}
	defer func() { t.finish(err) }()
	if err := t.folder(); err != nil {
		return err
	}
	defer func() { t.close(err) }()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"two sites: certificates, one source, three targets", t.buildSites},
		{"two disks with data: a file system from real files, and a raw disk", t.makeDisks},
		{"protect: initial copy while both disks are being written", t.protect},
		{"replication under load: one write is one recovery point", t.replicate},
		{"kill -9 of the target that receives the stream", t.killTarget},
		{"kill -9 of the source under load", t.killSource},
		{"unplanned failover to the latest point", t.failoverLatest},
		{"change the recovery point: to a chosen second", t.changeToSecond},
		{"change the recovery point: to an LSN in the middle", t.changeToLSN},
		{"the killed target returns and catches up; another one dies", t.targetReturns},
		{"test failover to an early point, beside production", t.testFailover},
		{"latest again, and commit", t.commit},
		{"work goes on at the secondary", t.workAtSecondary},
		{"the old source returns: fenced, read-only, with a loss receipt", t.sourceReturns},
		{"reverse: ship to the old primary only what differs", t.reverse},
		{"failback", t.failback},
		{"work goes on at the primary; both sites hold the same", t.workAtPrimary},
		{"planned failover, and home again: no write is lost", t.plannedFailover},
	} {
		t.step(step.name)
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := step.do(ctx); err != nil {
			return err
		}
	}
	t.res.Headline = append(t.res.Headline, Fact{"whole-disk hashes compared with the model", fmt.Sprint(t.judgments)})
	return nil
}

func (t *tour) folder() (err error) {
	if t.o.WorkDir == "" {
		t.dir, err = os.MkdirTemp("", "rd")
		return err
	}
	if t.dir, err = filepath.Abs(t.o.WorkDir); err != nil {
		return err
	}
	return os.MkdirAll(t.dir, 0o700)
}

// close ends everything that was started, in the order in which it hangs together.
func (t *tour) close(failed error) {
	if t.load != nil {
		t.load.end()
	}
	t.unmount()
	if t.relay != nil {
		t.relay.Close()
	}
	if t.site != nil {
		t.site.Close()
	}
	if t.model != nil {
		t.model.Close()
	}
	switch {
	case t.o.Keep:
		t.printf("\nkept: %s\n", t.dir)
	case failed != nil:
		t.printf("\nlogs kept: %s\n", t.keepLogs())
	}
	if !t.o.Keep && t.o.WorkDir == "" {
		os.RemoveAll(t.dir)
	}
}

// keepLogs copies the daemons' logs and configurations to a folder that stays.
func (t *tour) keepLogs() string {
	to, err := os.MkdirTemp("", "redoubt-demo-logs-")
	if err != nil || t.site == nil {
		return "nowhere"
	}
	for _, n := range t.site.Nodes() {
		for _, p := range []string{n.LogPath(), n.Config()} {
			if b, err := os.ReadFile(p); err == nil {
				os.WriteFile(filepath.Join(to, n.Name+"-"+filepath.Base(p)), b, 0o600)
			}
		}
	}
	return to
}

func (t *tour) unmount() {
	if t.mount != nil {
		t.mount.Close()
		t.mount = nil
	}
}
