package oracle

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// ErrDown is what a relay answers after it has lost its upstream, until Resume.
var ErrDown = errors.New("the relay's upstream is gone")

// Upstream says where a disk's real export is.
type Upstream struct {
	Disk   redoubt.Disk
	Socket string // unix socket of the NBD server
	Export string
}

// Relay passes NBD clients through to the real exports of one group and
// records every change in the model.
//
// Changes go one at a time across all disks, each at most
// redoubt.MaxWriteData long, so that one request is one LSN. After the
// connection to an upstream breaks, at most one change is of unknown fate; the
// relay then serves nothing until Resume.
type Relay struct {
	model *Model
	epoch redoubt.Epoch
	dir   string

	listeners map[string]net.Listener
	wg        sync.WaitGroup

	connMu sync.Mutex
	conns  map[net.Conn]struct{}

	mu   sync.Mutex // held while a change is on its way: the order of the group
	down error
	fail error // first failure of the model: nothing is passed on after it
}

// NewRelay listens on dir/DISK.sock for each upstream, with any export name,
// and records changes as epoch e.
func NewRelay(m *Model, e redoubt.Epoch, dir string, ups []Upstream) (*Relay, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	r := &Relay{model: m, epoch: e, dir: dir, listeners: map[string]net.Listener{}, conns: map[net.Conn]struct{}{}}
	for _, u := range ups {
		l, err := net.Listen("unix", r.Socket(u.Disk.Name))
		if err != nil {
			r.Close()
			return nil, err
		}
		r.listeners[u.Disk.Name] = l
		r.wg.Add(1)
		go r.accept(l, u)
	}
	return r, nil
}

// Socket returns the path of a disk's socket.
func (r *Relay) Socket(disk string) string { return filepath.Join(r.dir, disk+".sock") }

func (r *Relay) accept(l net.Listener, u Upstream) {
	defer r.wg.Done()
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		if !r.track(c, true) {
			c.Close()
			return
		}
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			defer r.track(c, false)
			defer c.Close()
			s := &session{relay: r, up: u, conn: c}
			s.serve()
		}()
	}
}

func (r *Relay) track(c net.Conn, add bool) bool {
	r.connMu.Lock()
	defer r.connMu.Unlock()
	if r.conns == nil {
		return false
	}
	if add {
		r.conns[c] = struct{}{}
	} else {
		delete(r.conns, c)
	}
	return true
}

// Resume lets clients through again after the upstream has come back. The
// caller anchors the model first.
func (r *Relay) Resume() {
	r.mu.Lock()
	r.down = nil
	r.mu.Unlock()
}

// Err returns why the relay serves nothing, or nil.
func (r *Relay) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return errors.Join(r.fail, r.down)
}

// Quiet runs fn while no change is on its way.
func (r *Relay) Quiet(fn func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fn()
}

// Anchor asks head for the writer's head while no change is on its way and
// tells the model. See Model.Anchor.
func (r *Relay) Anchor(head func() (redoubt.LSN, error)) (drift int64, err error) {
	err = r.Quiet(func() error {
		l, err := head()
		if err != nil {
			return err
		}
		drift, err = r.model.Anchor(r.epoch, l)
		return err
	})
	return drift, err
}

// Close ends all connections and listeners.
func (r *Relay) Close() error {
	for _, l := range r.listeners {
		l.Close()
	}
	r.connMu.Lock()
	for c := range r.conns {
		c.Close()
	}
	r.conns = nil
	r.connMu.Unlock()
	r.wg.Wait()
	return nil
}

// change passes one change of at most MaxWriteData payload on and records it.
func (r *Relay) change(up *Client, d redoubt.DiskID, kind redoubt.Kind, off uint64, n uint32, flags uint16, data []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	if r.down != nil {
		return r.down
	}
	c := Change{Disk: d, Kind: kind, Extent: redoubt.Extent{Off: off, Len: uint64(n)}, Sent: now()}
	err := up.raw(kind, off, n, flags, data)
	var remote *ErrRemote
	switch {
	case err == nil:
		c.Acked = now()
	case errors.As(err, &remote) && refused(remote.Code):
		return err
	case !errors.As(err, &remote):
		r.down = fmt.Errorf("%w: %w", ErrDown, err)
	}
	if rerr := r.model.Record(r.epoch, c, data); rerr != nil {
		r.fail = fmt.Errorf("the model cannot record: %w", rerr)
		return r.fail
	}
	return err
}

// raw sends one change of the given kind.
func (c *Client) raw(kind redoubt.Kind, off uint64, n uint32, flags uint16, data []byte) error {
	switch kind {
	case redoubt.KindWrite:
		return c.do("write", 1, flags, off, n, data, nil)
	case redoubt.KindZero:
		return c.do("write zeroes", cmdWriteZeroes, flags, off, n, nil, nil)
	}
	return c.do("trim", cmdTrim, flags, off, n, nil, nil)
}

// dialUpstream opens the real export, unless the relay is down.
func (r *Relay) dialUpstream(u Upstream) (*Client, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	return Dial(context.Background(), u.Socket, u.Export)
}
