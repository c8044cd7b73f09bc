package oracle

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/redoubt-dr/redoubt"
)

// Disk is a disk of the model and the image that it began with. The file Base
// must not change while the model is in use.
type Disk struct {
	redoubt.Disk
	Base string
}

// Model knows what every disk of one group holds at every position. All
// methods may be called concurrently.
type Model struct {
	dir   string
	disks []Disk

	mu     sync.Mutex
	epochs map[redoubt.Epoch]*epoch
}

// epoch is the history of one writer.
type epoch struct {
	parent  redoubt.Epoch
	at      redoubt.LSN // fork: the state of parent after its write at
	log     *os.File
	end     int64
	changes []Change
	anchors []anchor
	buf     []byte
}

// anchor says that the change with this index has this LSN. Records that are
// not changes, such as the copier's, take LSNs too, so there may be several.
type anchor struct {
	index int
	lsn   redoubt.LSN
}

// New makes a model with files under dir (which must not exist yet), whose
// first epoch is 1.
func New(dir string, disks []Disk) (*Model, error) {
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	m := &Model{dir: dir, disks: disks, epochs: map[redoubt.Epoch]*epoch{}}
	return m, m.addEpoch(1, 0, 0)
}

// Disks returns the disks of the model.
func (m *Model) Disks() []Disk { return m.disks }

// Fork begins epoch e, whose history goes on from p. Its first change has, as
// far as the model knows, LSN p.LSN+1.
func (m *Model) Fork(e redoubt.Epoch, p redoubt.Position) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.epochs[p.Epoch]; !ok || m.epochs[e] != nil {
		return fmt.Errorf("fork epoch %d from %s: unknown parent or known epoch", e, p)
	}
	if err := m.addEpoch(e, p.Epoch, p.LSN); err != nil {
		return err
	}
	m.epochs[e].anchors = []anchor{{0, p.LSN + 1}}
	return nil
}

func (m *Model) addEpoch(e, parent redoubt.Epoch, at redoubt.LSN) error {
	f, err := createLog(filepath.Join(m.dir, "epoch-"+e.String()))
	if err != nil {
		return err
	}
	m.epochs[e] = &epoch{parent: parent, at: at, log: f, end: logFileHdr}
	return nil
}

// Record adds a change at the end of an epoch. len(data) is c.Extent.Len for a
// KindWrite and 0 otherwise.
func (m *Model) Record(e redoubt.Epoch, c Change, data []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	ep := m.epochs[e]
	if ep == nil {
		return fmt.Errorf("record in unknown epoch %d", e)
	}
	ep.buf = appendRecord(ep.buf[:0], &c, data)
	if _, err := ep.log.WriteAt(ep.buf, ep.end); err != nil {
		return err
	}
	c.dataAt = ep.end + logRecHdr
	ep.end += int64(len(ep.buf))
	ep.changes = append(ep.changes, c)
	return nil
}

// Anchor tells the model, at a moment without a change on its way, that the
// writer's head is at head. It returns how many LSNs were taken since the last
// anchor by records that are no changes, such as the copier's: zero when one
// change is one LSN. A last change without an answer is settled by it.
// A negative drift means that an acknowledged change is lost.
func (m *Model) Anchor(e redoubt.Epoch, head redoubt.LSN) (drift int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ep := m.epochs[e]
	if ep == nil {
		return 0, fmt.Errorf("anchor in unknown epoch %d", e)
	}
	if len(ep.anchors) > 0 {
		want := ep.lsn(len(ep.changes)) - 1
		drift = int64(head) - int64(want)
		if n := len(ep.changes); drift == -1 && n > 0 && ep.changes[n-1].Maybe() {
			// the cap makes a later append leave the slices of running Seeks alone
			ep.changes, drift = ep.changes[:n-1:n-1], 0
		}
	}
	if len(ep.anchors) == 0 || drift != 0 {
		ep.anchors = append(ep.anchors, anchor{len(ep.changes), head + 1})
	}
	return drift, nil
}

// lsn returns the LSN of the change with this index; 0 if it lies before the
// first anchor.
func (ep *epoch) lsn(index int) redoubt.LSN {
	for i := len(ep.anchors) - 1; i >= 0; i-- {
		if a := ep.anchors[i]; index >= a.index {
			return a.lsn + redoubt.LSN(index-a.index)
		}
	}
	return 0
}

// Head returns the LSN of the last change of an epoch (its fork's LSN if it
// has none, 0 if it has no anchor yet).
func (m *Model) Head(e redoubt.Epoch) redoubt.LSN {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ep := m.epochs[e]; ep != nil && len(ep.anchors) > 0 {
		return ep.lsn(len(ep.changes)) - 1
	}
	return 0
}

// Count returns the number of changes and their bytes in an epoch.
func (m *Model) Count(e redoubt.Epoch) (changes int, bytes uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	ep := m.epochs[e]
	if ep == nil {
		return 0, 0
	}
	for _, c := range ep.changes {
		bytes += c.Extent.Len
	}
	return len(ep.changes), bytes
}

// Close closes the model's files; they stay.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, ep := range m.epochs {
		ep.log.Close()
	}
	return nil
}
