package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/blockdev"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/target/view"
)

// Kind says what an Instance is for.
type Kind string

// The kinds of an Instance.
const (
	// KindTest is beside production and is thrown away.
	KindTest Kind = "test"
	// KindFailover is the group's production at the secondary.
	KindFailover Kind = "failover"
)

// Spec is what an Instance opens. It is kept in the instance's folder, so that
// a restart of the node opens it again.
type Spec struct {
	Version int              `json:"version"`
	ID      string           `json:"id"` // unique on the node
	Kind    Kind             `json:"kind"`
	Group   redoubt.GroupID  `json:"group"`
	UUID    string           `json:"uuid"`
	Disks   []redoubt.Disk   `json:"disks"`
	Point   redoubt.Position `json:"point"` // what the overlay lies over
	Epoch   redoubt.Epoch    `json:"epoch"` // of the writes made here
	Time    time.Time        `json:"time"`  // of the last write at Point
	Created time.Time        `json:"created"`
	// Hydrate: what lies under the overlays is copied to this node in the background.
	Hydrate bool `json:"hydrate,omitempty"`
	// Branch is the tail of an old primary that lies over Point; it is not whole
	// while Filling.
	Branch  string `json:"branch,omitempty"`
	Filling bool   `json:"filling,omitempty"`
	// Check names the recovery check that opened it, and ends it; "": an operator did.
	Check string `json:"check,omitempty"`
	// Over: it is being deleted, and is not opened again.
	Over bool `json:"over,omitempty"`
	// Label of a test failover: see LabelledTest.
	Label string `json:"label,omitempty"`
}

const specVersion = 1

// Instance is an open point: writable disks on an NBD socket.
type Instance struct {
	Spec
	Socket string

	dir      string
	view     *view.View
	overlays []*Overlay
	loose    []*Overlay // those that no blockdev.Group owns yet
	hydrator *hydrator  // nil unless Hydrate
	journal  *journal.Journal
	disks    *blockdev.Group
	server   *blockdev.Server
}

// viewDisk is one disk of a View.
type viewDisk struct {
	view *view.View
	disk redoubt.DiskID
}

func (d viewDisk) ReadAt(p []byte, off uint64) error { return d.view.ReadAt(d.disk, p, off) }

func (d viewDisk) ReadThrough(p []byte, off uint64) error {
	return d.view.ReadThrough(d.disk, p, off)
}

func (d viewDisk) NextData(from uint64) (redoubt.Extent, bool, error) {
	return d.view.NextData(d.disk, from)
}

// openInstance opens spec in dir over v, which it owns from then on, and
// serves its disks on socket. hydrateRate is in bytes a second.
func openInstance(spec Spec, dir, socket string, v *view.View, journalMax, hydrateRate int64, log *slog.Logger) (_ *Instance, err error) {
	in := &Instance{Spec: spec, Socket: socket, dir: dir, view: v}
	defer func() {
		if err != nil {
			err = errors.Join(err, in.close())
		}
	}()
	var members []blockdev.Member
	for _, d := range spec.Disks {
		o, err := OpenOverlay(filepath.Join(dir, "disk-"+d.ID.String()), viewDisk{v, d.ID}, d.Size)
		if err != nil {
			return nil, err
		}
		in.overlays, in.loose = append(in.overlays, o), append(in.loose, o)
		members = append(members, blockdev.Member{Disk: d, Backing: o})
	}
	in.journal, err = journal.Open(filepath.Join(dir, "journal"), journal.Options{
		Create: true, Start: redoubt.Position{Epoch: spec.Epoch, LSN: spec.Point.LSN}, Logger: log,
		SegmentSize: 16 << 20, MaxBytes: journalMax,
	})
	if err != nil {
		return nil, err
	}
	in.loose = nil // OpenGroup owns them, also when it fails
	if in.disks, err = blockdev.OpenGroup(in.journal, members, blockdev.GroupOptions{Logger: log}); err != nil {
		return nil, err
	}
	if err := in.serve(log); err != nil {
		return nil, err
	}
	if spec.Hydrate {
		var bases []hydrationBase
		for _, d := range spec.Disks {
			bases = append(bases, viewDisk{v, d.ID})
		}
		in.hydrator = newHydrator(in.overlays, bases, hydrateRate, log)
		in.hydrator.start()
	}
	return in, nil
}

// Hydration says how far the copy to this node is; ok is false if there is none.
func (in *Instance) Hydration() (h Hydration, ok bool) {
	if in.hydrator == nil {
		return h, false
	}
	return in.hydrator.status(), true
}

// boundaryWait is what a client gets to come to a request boundary when the
// export is closed.
const boundaryWait = 2 * time.Second

func (in *Instance) serve(log *slog.Logger) error {
	l, err := blockdev.ListenUnix(in.Socket)
	if err != nil {
		return err
	}
	in.server = blockdev.NewServer(blockdev.ServerOptions{Logger: log})
	for _, v := range in.disks.Volumes() {
		desc := fmt.Sprintf("%s of %s at %s", in.Kind, in.Group, in.Point)
		if err := in.server.Add(blockdev.Export{Name: v.Disk().Name, Volume: v, Description: desc}); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	go func() {
		if err := in.server.Serve(l); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, redoubt.ErrClosed) {
			log.Error("the NBD server stopped", "socket", in.Socket, "err", err)
		}
	}()
	return nil
}

// Bytes returns how much the instance's overlays hold, hydrated bytes included.
func (in *Instance) Bytes() uint64 {
	var n uint64
	for _, o := range in.overlays {
		n += o.Bytes()
	}
	return n
}

// Stats returns the figures of the disks.
func (in *Instance) Stats() blockdev.Stats { return in.disks.Stats() }

// Clients returns the number of NBD connections to a disk.
func (in *Instance) Clients(disk string) int { return in.server.Clients(disk) }

// Journal returns the figures of the journal of the writes made here.
func (in *Instance) Journal() (journal.Stats, journal.Figures) {
	return in.journal.Stats(), in.journal.Figures()
}

// Head returns the position of the last write made here.
func (in *Instance) Head() redoubt.Position { return in.journal.Head() }

// freeze stops new writes and returns the last one, durable in the journal.
func (in *Instance) freeze(ctx context.Context, reason error) (redoubt.LSN, error) {
	in.disks.SetReadOnly(reason)
	head := in.journal.Head().LSN
	return head, in.journal.Sync(ctx, head)
}

func (in *Instance) close() error {
	var err error
	if in.hydrator != nil {
		in.hydrator.stop()
	}
	if in.server != nil {
		in.server.Shutdown(boundaryWait)
	}
	if in.disks != nil {
		err = errors.Join(err, in.disks.Close())
	}
	for _, o := range in.loose {
		err = errors.Join(err, o.Close())
	}
	if in.journal != nil {
		err = errors.Join(err, in.journal.Close())
	}
	return errors.Join(err, in.view.Close())
}

const specFile = "export.json"

// writeSpec makes dir and its spec durable: from then on the instance exists.
func writeSpec(dir string, s Spec) error {
	if err := vfs.MakeDir(vfs.OS, dir, 2); err != nil { // in Dir/GROUP, and that in Dir
		return err
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	return vfs.WriteAtomic(vfs.OS, filepath.Join(dir, specFile), append(b, '\n'))
}

func readSpec(dir string) (Spec, error) {
	b, err := os.ReadFile(filepath.Join(dir, specFile))
	if err != nil {
		return Spec{}, err
	}
	var s Spec
	if err := json.Unmarshal(b, &s); err != nil {
		return s, &redoubt.Error{Op: "open export", Object: dir, Err: fmt.Errorf("%w: %v", redoubt.ErrCorrupt, err)}
	}
	if s.Version > specVersion {
		return s, &redoubt.Error{Op: "open export", Object: dir, Err: redoubt.ErrVersion, Hint: "install the newer redoubtd again"}
	}
	return s, nil
}
