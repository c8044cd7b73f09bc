package source

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
)

// imageMark tells an image file from another one at the same path. A device has
// none: its number says nothing after the next start of the host.
type imageMark struct {
	Inode uint64 `json:"inode"`
	Born  int64  `json:"born,omitempty"` // Unix nanoseconds; 0: the file system does not know
}

// imagesKey is where the journal's state has the mark of each disk's image.
const imagesKey = "images"

func markImage(path string) (m imageMark, ok bool, err error) {
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_TYPE|unix.STATX_BTIME, &st); err != nil {
		return m, false, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return m, false, nil
	}
	m.Inode = st.Ino
	if st.Mask&unix.STATX_BTIME != 0 {
		m.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return m, true, nil
}

// checkImages finds out whether the images are the files of last time. If one
// is not, nobody knows what the disks hold, and the journal, which knows what
// was written, must not be taken for the whole difference to the secondary:
// Role.Replaced says so until the disks were compared or copied whole. anew: the
// group's folder was made just now; a journal that is kept elsewhere and is older
// is not believed either.
func (g *Group) checkImages(disks []redoubt.Disk, anew bool) error {
	was, _, err := loadState[map[redoubt.DiskID]imageMark](g, imagesKey)
	if err != nil {
		return err
	}
	now, changed := map[redoubt.DiskID]imageMark{}, anew
	if anew && g.journal.Head().LSN > 0 {
		g.role.Replaced = true
		g.log.Error("the group's folder is new and its journal is not: what the disks hold is not known", "journal", g.journalDir(g.host.groupDir(g.cfg.Name)))
	}
	for i, d := range g.cfg.Disks {
		id := disks[i].ID
		m, ok, err := markImage(d.Path)
		if err != nil {
			return &redoubt.Error{Op: "open disk", Object: d.Path, Err: err}
		}
		if ok {
			now[id] = m
		}
		old, known := was[id]
		changed = changed || known != ok || old != m
		if known && old != m {
			g.role.Replaced = true
			g.log.Error("the image is another file than before: what it holds is not known", "disk", d.Name, "path", d.Path,
				"hint", "if it is not a copy of the old one, stop redoubtd and fail over; redoubt verify finds what differs from the secondary")
		}
	}
	if !changed {
		return nil
	}
	if g.role.Replaced { // first: a crash in between finds it once more
		if err := g.role.save(g.journal); err != nil {
			return err
		}
	}
	return g.putState(imagesKey, now)
}

// known notes that the disks were found equal to the secondary's, or that the
// journal has begun anew, as that of a copy. The caller holds g.step.
func (g *Group) known() error {
	r := g.Role()
	if !r.Replaced {
		return nil
	}
	r.Replaced = false
	if err := r.save(g.journal); err != nil {
		return err
	}
	g.mu.Lock()
	g.role = r
	g.mu.Unlock()
	return nil
}
