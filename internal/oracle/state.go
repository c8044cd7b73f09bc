package oracle

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt"
)

// Hash is the SHA-256 of a whole disk.
type Hash [sha256.Size]byte

// String returns the first eight bytes in hex: enough to tell hashes apart in a table.
func (h Hash) String() string { return fmt.Sprintf("%x", h[:8]) }

// State is the disks of a model at one position, in image files of its own. It
// is for one goroutine.
type State struct {
	m     *Model
	dir   string
	files map[redoubt.DiskID]*os.File
	pos   redoubt.Position // zero: files are not there yet
}

// State makes a state with files under a new folder of the model.
func (m *Model) State() (*State, error) {
	dir, err := os.MkdirTemp(m.dir, "state-")
	return &State{m: m, dir: dir, files: map[redoubt.DiskID]*os.File{}}, err
}

// Close removes the state's files.
func (s *State) Close() error {
	for _, f := range s.files {
		f.Close()
	}
	return os.RemoveAll(s.dir)
}

// Path returns the image file of a disk. It may be read until the next Seek.
func (s *State) Path(d redoubt.DiskID) string { return filepath.Join(s.dir, "disk-"+d.String()) }

// Seek brings the files to p. Going on within an epoch costs the changes in
// between; everything else begins at the base images.
func (s *State) Seek(p redoubt.Position) error {
	if s.pos.Epoch != p.Epoch || s.pos.LSN > p.LSN || s.pos.LSN < s.m.fork(p.Epoch) {
		s.pos = redoubt.Position{}
		if err := s.reset(); err != nil {
			return err
		}
		if err := s.replay(p.Epoch, 0, p.LSN, true); err != nil {
			return err
		}
	} else if err := s.replay(p.Epoch, s.pos.LSN, p.LSN, false); err != nil {
		return err
	}
	s.pos = p
	return nil
}

// fork returns the LSN at which an epoch begins.
func (m *Model) fork(e redoubt.Epoch) redoubt.LSN {
	m.mu.Lock()
	defer m.mu.Unlock()
	if ep := m.epochs[e]; ep != nil {
		return ep.at
	}
	return 0
}

// replay applies an epoch's changes with from < LSN <= to; with ancestors also
// what the epoch's history goes on from.
func (s *State) replay(e redoubt.Epoch, from, to redoubt.LSN, ancestors bool) error {
	s.m.mu.Lock()
	ep := s.m.epochs[e]
	if ep == nil {
		s.m.mu.Unlock()
		return fmt.Errorf("the model knows no epoch %d", e)
	}
	changes, anchors := ep.changes, append([]anchor(nil), ep.anchors...)
	s.m.mu.Unlock()
	known := epoch{anchors: anchors}
	if len(anchors) == 0 || to+1 < anchors[0].lsn {
		if ep.parent == 0 || to > ep.at {
			return fmt.Errorf("position %d:%d lies before the model's first anchor", e, to)
		}
	}
	if ancestors && ep.parent != 0 {
		if err := s.replay(ep.parent, 0, min(to, ep.at), true); err != nil {
			return err
		}
	}
	for i := range changes {
		l := known.lsn(i)
		if l > to {
			break
		}
		if l > from || (from == 0 && l == 0) {
			if err := s.apply(ep.log, &changes[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *State) apply(log *os.File, c *Change) error {
	f := s.files[c.Disk]
	if f == nil {
		return fmt.Errorf("a change of unknown disk %d", c.Disk)
	}
	if c.Kind.Zeroes() {
		return zeroFile(f, c.Extent)
	}
	buf := make([]byte, c.Extent.Len)
	if _, err := log.ReadAt(buf, c.dataAt); err != nil {
		return err
	}
	_, err := f.WriteAt(buf, int64(c.Extent.Off))
	return err
}

func (s *State) reset() error {
	for _, d := range s.m.disks {
		if f := s.files[d.ID]; f != nil {
			f.Close()
		}
		f, err := os.OpenFile(s.Path(d.ID), os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o600)
		if err != nil {
			return err
		}
		s.files[d.ID] = f
		if err := copySparse(f, d.Base, d.Size); err != nil {
			return err
		}
	}
	return nil
}

// Hash returns the hash of a disk at the state's position.
func (s *State) Hash(d redoubt.DiskID) (Hash, error) {
	f := s.files[d]
	if f == nil {
		return Hash{}, fmt.Errorf("no disk %d, or Seek was not called", d)
	}
	return HashReader(io.NewSectionReader(f, 0, 1<<62))
}

// HashReader hashes r to its end.
func HashReader(r io.Reader) (Hash, error) {
	h := sha256.New()
	if _, err := io.CopyBuffer(h, r, make([]byte, 1<<20)); err != nil {
		return Hash{}, err
	}
	return Hash(h.Sum(nil)), nil
}
