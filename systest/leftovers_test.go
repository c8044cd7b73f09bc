package systest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// Clean-up leaves nothing: after test failovers (also of a node that was killed
// meanwhile), a change of the point, a cancel, a planned failover and the way
// back there is no file, socket, open descriptor, loop device or pin that was not
// there before; and a test failover has changed nothing of the group.
func TestNothingIsLeftBehind(t *testing.T) {
	b := newBed(t)
	head := b.settled()
	before, group := b.traces(), b.catalogued()
	for i, n := range append(b.site.Targets, b.site.Targets[0]) {
		p := head
		p.LSN -= redoubt.LSN(10 * i)
		r := &adminv1.TestFailoverResponse{}
		b.must(b.site.Call(b.ctx, n, r, "failover", "test", groupName, "--at", p.String()))
		b.smudge(r.Export.Disks)
	}
	if during := b.traces(); slices.Equal(before, during) || len(b.pins()) != 4 {
		t.Fatalf("nothing is seen of four test failovers: %v, pins %v", during, b.pins())
	}
	b.site.Targets[1].Kill()
	b.must(b.site.Targets[1].Start())
	b.until(func() bool { return len(b.exportsAt(b.site.Targets[1])) == 1 })
	for _, n := range b.site.Targets {
		b.must(b.site.Call(b.ctx, n, nil, "failover", "cleanup", groupName))
	}
	b.nothingLeft("test failovers", before)
	if got := b.catalogued(); got != group {
		t.Errorf("test failovers have changed the group:\n%s\n%s", group, got)
	}

	prod := b.site.Targets[2]
	u := &adminv1.UnplannedFailoverResponse{}
	b.must(b.site.Call(b.ctx, prod, u, "failover", "unplanned", groupName))
	b.smudge(u.Export.Disks)
	c := &adminv1.ChangeRecoveryPointResponse{}
	b.must(b.site.Call(b.ctx, prod, c, "failover", "change", groupName, "--at", redoubt.Position{Epoch: 1, LSN: head.LSN - 50}.String()))
	b.smudge(c.Export.Disks)
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "cancel", groupName))
	b.resynced()
	b.nothingLeft("change and cancel", before)

	b.must(b.site.Call(b.ctx, prod, nil, "failover", "planned", groupName, "--node", prod.Name))
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "cancel", groupName))
	b.resynced()
	b.nothingLeft("planned failover and cancel", before)

	b.must(b.site.Call(b.ctx, prod, nil, "failover", "planned", groupName, "--node", prod.Name))
	b.must(b.site.Call(b.ctx, prod, nil, "failover", "commit", groupName))
	b.wait(prod, "the way back to begin by itself", inSync)
	f := &adminv1.FailbackResponse{}
	b.must(b.site.Call(b.ctx, prod, f, "failback", groupName))
	b.writable(redoubt.Epoch(f.Epoch))
	b.nothingLeft("planned failover, commit and failback", before)
}

// smudge writes something to exported disks.
func (b *bed) smudge(up []*adminv1.Disk) {
	b.Helper()
	for _, d := range b.disks {
		x := disk(b.T, up, d.Name)
		k, err := oracle.Dial(b.ctx, x.Socket, x.Export)
		b.must(err)
		b.must(errors.Join(k.Write(slices.Repeat([]byte{0xA5}, 64<<10), 0, true), k.Close()))
	}
}

// nothingLeft waits until the traces are those of before, and holds that there
// is no pin.
func (b *bed) nothingLeft(of string, before []string) {
	b.Helper()
	ok := func() bool { return slices.Equal(b.traces(), before) && len(b.pins()) == 0 }
	for range 100 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	for _, x := range b.traces() {
		if !slices.Contains(before, x) {
			b.Errorf("%s left %s", of, x)
		}
	}
	b.Fatalf("%s left pins %v; before %v, now %v", of, b.pins(), before, b.traces())
}

// traces are what exports leave on the nodes: files and folders, sockets that
// are listened on, descriptors of all of these (of deleted ones, too), and loop devices.
func (b *bed) traces() (out []string) {
	b.Helper()
	sockets, err := os.ReadFile("/proc/net/unix")
	b.must(err)
	loops, err := filepath.Glob("/sys/block/loop*/loop/backing_file")
	b.must(err)
	for _, n := range b.site.Nodes() {
		for _, dir := range []string{filepath.Join(n.Dir, "data", "exports"), filepath.Join(n.Dir, "data", "groups", groupName, "branches"), filepath.Join(n.Dir, "run", "export")} {
			out = append(out, files(dir)...)
			for line := range strings.SplitSeq(string(sockets), "\n") {
				if i := strings.Index(line, dir); i >= 0 {
					out = append(out, "socket "+line[i:])
				}
			}
			fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", n.Pid()))
			b.must(err)
			for _, fd := range fds {
				if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, dir) {
					out = append(out, n.Name+" has open "+to)
				}
			}
		}
	}
	for _, l := range loops {
		if file, err := os.ReadFile(l); err == nil && strings.HasPrefix(string(file), b.dir) {
			out = append(out, "loop device of "+string(file))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// files are the files below dir, and the folders that are empty or of a group's export.
func files(dir string) (out []string) {
	_ = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err == nil && path != dir && filepath.Dir(path) != dir { // a folder of the group stays
			out = append(out, path)
		} else if err == nil && path != dir && !e.IsDir() {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// pins are what keeps points of the group.
func (b *bed) pins() []*adminv1.Pin {
	b.Helper()
	r := &adminv1.GetRetentionResponse{}
	b.must(b.site.Call(b.ctx, b.site.Targets[0], r, "retention", "show", groupName))
	return r.Pins
}

// catalogued is what the catalog says of the group, without what moves by itself.
func (b *bed) catalogued() string {
	b.Helper()
	_, g, err := b.site.Status(b.ctx, b.site.Targets[0])
	b.must(err)
	return fmt.Sprint(g.State, g.Epoch, g.Lineage, g.Committed, g.AllowedOperations, g.Redundancy.GetSegments())
}

// exportsAt are the test failovers that a node has open.
func (b *bed) exportsAt(n *site.Node) []*adminv1.Export {
	b.Helper()
	r := &adminv1.ListExportsResponse{}
	if err := b.site.Call(b.ctx, n, r, "export", "list", groupName); err != nil {
		return nil // it is starting
	}
	return slices.DeleteFunc(r.Exports, func(x *adminv1.Export) bool { return x.Kind != "test" || len(x.Disks) == 0 || x.Disks[0].Socket == "" })
}
