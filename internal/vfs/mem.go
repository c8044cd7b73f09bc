package vfs

import (
	"io"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// sector is the unit that a power cut tears a write at, in bytes.
const sector = 512

// Mem is a file system in memory that knows what has been synced. It is safe
// for concurrent use. Crash tells what a power cut would leave.
type Mem struct {
	mu    sync.Mutex
	names map[string]*memNode // what programs see
	disk  map[string]*memNode // the directory entries that were synced
	locks map[string]bool
	limit int64 // bytes that all files may have; 0: no limit
	dead  bool  // a power cut has happened: every operation fails
}

// memNode is a file or folder. stable is the content on the disk; log holds
// the writes since the last sync, in order.
type memNode struct {
	dir    bool
	data   []byte
	stable []byte
	log    []memOp
}

// memOp is one unsynced change: data at off, or (data nil) a new size.
type memOp struct {
	off  int64
	data []byte
}

// NewMem returns an empty file system.
func NewMem() *Mem {
	root := &memNode{dir: true}
	return &Mem{names: map[string]*memNode{"/": root}, disk: map[string]*memNode{"/": root}, locks: map[string]bool{}}
}

// Limit sets how many bytes all files may have together, as if the disk had no
// more; 0 takes the limit away. What is above it already stays. A write that finds
// less room writes what fits and fails with ENOSPC; to allocate is all or nothing.
// A hole takes its room, too; names take none. What Crash, Clone and Kill return
// has no limit.
func (m *Mem) Limit(n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.limit = n
}

// Used returns how many bytes all files have together.
func (m *Mem) Used() (n int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range m.names {
		n += int64(len(f.data))
	}
	return n
}

// longest is how long the file n, which is in m, may be. m.mu is held.
func (m *Mem) longest(n *memNode) int64 {
	if m.limit == 0 {
		return math.MaxInt64
	}
	left := m.limit
	for _, f := range m.names {
		if f != n {
			left -= int64(len(f.data))
		}
	}
	return max(left, int64(len(n.data)))
}

func clean(name string) string { return filepath.Clean("/" + name) }

func pathErr(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Crash returns the file system as it may be found after a power cut at this
// moment: of each file every unsynced write is kept, dropped or torn at a
// sector, by rng, each on its own; unsynced directory entries are kept or
// lost. All operations on m, and on files opened from it, fail from now on.
func (m *Mem) Crash(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	return m.after(rng)
}

// Clone returns what Crash would, while m lives on.
func (m *Mem) Clone(rng *rand.Rand) *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.after(rng)
}

// Kill returns the file system as the next process finds it after kill -9:
// everything written is there, what was not synced is still not. Operations on
// m fail from now on.
func (m *Mem) Kill() *Mem {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.dead = true
	return &Mem{names: m.names, disk: m.disk, locks: map[string]bool{}}
}

func (m *Mem) after(rng *rand.Rand) *Mem {
	out := NewMem()
	seen := map[string]bool{}
	var all []string
	for _, t := range []map[string]*memNode{m.names, m.disk} {
		for n := range t {
			if !seen[n] {
				seen[n] = true
				all = append(all, n)
			}
		}
	}
	sort.Strings(all) // so that the same seed gives the same result
	torn := map[*memNode]*memNode{}
	for _, name := range all {
		now, old := m.names[name], m.disk[name]
		pick := now
		if now != old && rng.IntN(2) == 0 {
			pick = old // the change of this entry was not synced
		}
		if pick == nil {
			continue
		}
		if _, ok := out.names[filepath.Dir(name)]; !ok {
			continue // its folder is gone
		}
		n, ok := torn[pick]
		if !ok {
			n = pick.tear(rng)
			torn[pick] = n
		}
		out.names[name], out.disk[name] = n, n
	}
	return out
}

// tear returns the node as the disk may hold it.
func (n *memNode) tear(rng *rand.Rand) *memNode {
	d := append([]byte(nil), n.stable...)
	mode := rng.IntN(4) // whole crashes that lose all or nothing are likely too
	for _, op := range n.log {
		if op.data == nil {
			if mode == 1 || (mode > 1 && rng.IntN(2) == 0) {
				d = resize(d, op.off)
			}
			continue
		}
		for p := 0; p < len(op.data); {
			e := min(len(op.data), p+sector-int((op.off+int64(p))%sector))
			keep := mode == 1 || mode == 2 && rng.IntN(8) > 0 || mode == 3 && rng.IntN(2) == 0
			if keep {
				end := op.off + int64(e)
				if int64(len(d)) < end {
					d = resize(d, end)
				}
				copy(d[op.off+int64(p):], op.data[p:e])
			}
			p = e
		}
	}
	return &memNode{dir: n.dir, data: d, stable: append([]byte(nil), d...)}
}

func resize(b []byte, n int64) []byte {
	if int64(len(b)) >= n {
		return b[:n:n]
	}
	if int64(cap(b)) >= n {
		old := len(b)
		b = b[:n]
		clear(b[old:])
		return b
	}
	out := make([]byte, n, n+n/4) // what lies above the length is zero
	copy(out, b)
	return out
}

// OpenFile opens or makes a file; O_CREATE, O_EXCL and O_TRUNC are honoured.
func (m *Mem) OpenFile(name string, flag int, _ os.FileMode) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := clean(name)
	n := m.names[p]
	dir := m.names[filepath.Dir(p)]
	switch {
	case m.dead:
		return nil, pathErr("open", name, os.ErrClosed)
	case n != nil && n.dir:
		return nil, pathErr("open", name, fs.ErrInvalid)
	case n == nil && (flag&os.O_CREATE == 0 || dir == nil):
		return nil, pathErr("open", name, fs.ErrNotExist)
	case n != nil && flag&os.O_CREATE != 0 && flag&os.O_EXCL != 0:
		return nil, pathErr("open", name, fs.ErrExist)
	case n == nil:
		n = &memNode{}
		m.names[p] = n
	case flag&os.O_TRUNC != 0:
		n.truncate(0)
	}
	return &memFile{m: m, n: n, name: name}, nil
}

// MkdirAll makes a folder and its parents.
func (m *Mem) MkdirAll(name string, _ os.FileMode) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return pathErr("mkdir", name, os.ErrClosed)
	}
	for p := clean(name); m.names[p] == nil; p = filepath.Dir(p) {
		m.names[p] = &memNode{dir: true}
	}
	return nil
}

// Remove removes a file or an empty folder.
func (m *Mem) Remove(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := clean(name)
	switch n := m.names[p]; {
	case m.dead:
		return pathErr("remove", name, os.ErrClosed)
	case n == nil:
		return pathErr("remove", name, fs.ErrNotExist)
	case n.dir && len(m.under(p)) > 0:
		return pathErr("remove", name, fs.ErrExist)
	}
	delete(m.names, p)
	return nil
}

// under returns the names inside the folder p, at any depth.
func (m *Mem) under(p string) []string {
	var out []string
	for n := range m.names {
		if strings.HasPrefix(n, strings.TrimSuffix(p, "/")+"/") && n != p {
			out = append(out, n)
		}
	}
	sort.Strings(out)
	return out
}

// RemoveAll removes a file or a folder with all that it holds.
func (m *Mem) RemoveAll(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return pathErr("remove", name, os.ErrClosed)
	}
	p := clean(name)
	for _, n := range m.under(p) {
		delete(m.names, n)
	}
	if p != "/" {
		delete(m.names, p)
	}
	return nil
}

// Rename moves a file, or a folder with all that it holds.
func (m *Mem) Rename(oldName, newName string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, w := clean(oldName), clean(newName)
	n := m.names[o]
	switch {
	case m.dead:
		return pathErr("rename", oldName, os.ErrClosed)
	case n == nil || m.names[filepath.Dir(w)] == nil:
		return pathErr("rename", oldName, fs.ErrNotExist)
	case m.names[w] != nil && (m.names[w].dir || n.dir):
		return pathErr("rename", newName, fs.ErrExist)
	}
	for _, c := range m.under(o) {
		m.names[w+strings.TrimPrefix(c, o)] = m.names[c]
		delete(m.names, c)
	}
	if n.dir { // entries inside a folder move with it, synced or not
		for c, d := range m.disk {
			if strings.HasPrefix(c, o+"/") {
				m.disk[w+strings.TrimPrefix(c, o)] = d
			}
		}
	}
	m.names[w] = n
	delete(m.names, o)
	return nil
}

// ReadDir lists a folder in order of name.
func (m *Mem) ReadDir(name string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := clean(name)
	if n := m.names[p]; m.dead || n == nil || !n.dir {
		return nil, pathErr("readdir", name, fs.ErrNotExist)
	}
	var out []fs.DirEntry
	for _, c := range m.under(p) {
		if filepath.Dir(c) == p {
			out = append(out, fs.FileInfoToDirEntry(m.names[c].info(c)))
		}
	}
	return out, nil
}

// Stat describes a file or folder; times are zero.
func (m *Mem) Stat(name string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := m.names[clean(name)]
	if n == nil || m.dead {
		return nil, pathErr("stat", name, fs.ErrNotExist)
	}
	return n.info(name), nil
}

// SyncDir makes the entries of a folder durable (not those of folders inside it).
func (m *Mem) SyncDir(name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := clean(name)
	if n := m.names[p]; m.dead || n == nil || !n.dir {
		return pathErr("syncdir", name, fs.ErrNotExist)
	}
	for c := range m.disk {
		if filepath.Dir(c) == p && m.names[c] == nil {
			delete(m.disk, c)
		}
	}
	for c, n := range m.names {
		if filepath.Dir(c) == p {
			m.disk[c] = n
		}
	}
	// A file system's log keeps order: the folder's own entry is no later.
	for q := p; ; q = filepath.Dir(q) {
		m.disk[q] = m.names[q]
		if q == "/" {
			return nil
		}
	}
}

// Lock implements Locker.
func (m *Mem) Lock(name string) (io.Closer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := clean(name)
	if m.locks[p] {
		return nil, &redoubt.Error{Op: "lock", Object: name, Err: redoubt.ErrState, Hint: "another process uses it"}
	}
	m.locks[p] = true
	return unlock(func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, p)
	}), nil
}

type unlock func()

func (u unlock) Close() error { u(); return nil }

type memInfo struct {
	name string
	size int64
	dir  bool
}

func (n *memNode) info(name string) memInfo {
	return memInfo{filepath.Base(name), int64(len(n.data)), n.dir}
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }
func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o700
	}
	return 0o600
}

// Forget makes the unsynced data of a file never reach the disk, as Linux does
// after a failed write-back, and a disk that lies about a flush: programs still
// see it, and later syncs do not write it. The file's size is not forgotten.
func (m *Mem) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if n := m.names[clean(name)]; n != nil {
		n.log = []memOp{{off: int64(len(n.data))}}
	}
}
