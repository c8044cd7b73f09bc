package segment

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// logFile is one file of the log. The Log's mutex guards bytes and list.
type logFile struct {
	vfs.File
	number uint64
	bytes  int64
	list   *listing // nil: it is open for writing, the Log's map knows its records
}

// listing is what a sealed file lists: on disk, read through the Log's caches,
// or in memory while the footer of the file does not hold. It is never changed,
// but for what the Log's mutex guards.
type listing struct {
	id   uint64 // names it in the caches: the file may get another one
	file *logFile
	geometry
	mem    []byte // the footer, unless it is to be read from the file
	shards int
	tombs  int
	bytes  int64 // of the shards' records

	// Guarded by Log.mu: the records that count no more, by their place in the
	// list. They are forgotten, deleted, or replaced by later ones.
	dead      []uint64
	deadCount int
	deadBytes int64
}

var listings atomic.Uint64

func newListing(f *logFile, g *geometry, s *summary) *listing {
	l := &listing{id: listings.Add(1), file: f, geometry: *g}
	l.shards, l.tombs, l.bytes = s.totals()
	return l
}

func (t *listing) isDead(i int) bool { return t.dead != nil && t.dead[i/64]&(1<<(i%64)) != 0 }

// kill marks record i, a shard's of n bytes. Log.mu is held.
func (t *listing) kill(i int, n int64) {
	if t.isDead(i) {
		return
	}
	if t.dead == nil {
		t.dead = make([]uint64, (int(t.records)+63)/64)
	}
	t.dead[i/64] |= 1 << (i % 64)
	t.deadCount++
	t.deadBytes += n
}

// same reports whether o lists the same records of the same file: one was made
// of the other's, of which some may have been lost.
func (t *listing) same(o *listing) bool { return o.records == t.records && o.bytes == t.bytes }

// live returns the bytes of the file that are needed, with what lists them. Log.mu is held.
func (t *listing) live() int64 {
	n := t.shards - t.deadCount
	if n == 0 {
		return 0
	}
	return t.bytes - t.deadBytes + int64(n)*entryLen + sector + footerFixed + trailerLen
}

func (t *listing) readAt(b []byte, off int64) error {
	if t.mem != nil {
		copy(b, t.mem[off:])
		return nil
	}
	return readFull(t.file, b, t.off+off)
}

// pageKey names a page of a listing in the cache.
type pageKey struct {
	listing uint64
	page    int
}

// directory returns the listing's, from the cache or the disk.
func (l *Log) directory(t *listing) (*directory, error) {
	return l.directories.Load(t.id, func() (*directory, int64, error) {
		off, n := t.geometry.directory()
		b := make([]byte, n)
		if err := t.readAt(b, off); err != nil {
			return nil, 0, err
		}
		d, err := decodeDirectory(b, t.file.number, &t.geometry)
		if err != nil {
			return nil, 0, err
		}
		return d, d.size(), nil
	})
}

// page returns the entries of page i, from the cache or the disk.
func (l *Log) page(t *listing, i int) ([]byte, error) {
	return l.pages.Load(pageKey{t.id, i}, func() ([]byte, int64, error) {
		off, n := t.geometry.page(i)
		b := make([]byte, n)
		if err := t.readAt(b, off); err != nil {
			return nil, 0, err
		}
		es, err := checkPage(b, t.file.number, i)
		return es, int64(n) + 96, err
	})
}

// hit is a record that was found in a listing.
type hit struct {
	t     *listing
	index int
	h     header
}

// now is the listing that counts: that of the file may be another one by now. Log.mu is held.
func (h *hit) now() *listing {
	if t := h.t.file.list; t.same(h.t) {
		return t
	}
	return h.t
}

// lookup returns the last record of id in the listing.
func (l *Log) lookup(t *listing, id *ID) (found hit, ok bool, err error) {
	err = l.eachOf(t, id, func(h hit) bool {
		found, ok = h, true
		return false
	})
	return found, ok, err
}

// eachOf calls fn with the listing's records of id, the last one first.
func (l *Log) eachOf(t *listing, id *ID, fn func(hit) bool) error {
	d, err := l.directory(t)
	if err != nil {
		return err
	}
	k, ok := d.key(id)
	if !ok {
		return nil
	}
	for p := d.page(k); p >= 0; p-- {
		es, err := l.page(t, p)
		if err != nil {
			return err
		}
		for i := lastOf(es, k); i >= 0; i-- {
			e := es[i*entryLen : (i+1)*entryLen]
			if readKey(e).compare(k) != 0 {
				return nil
			}
			h, err := d.entry(e, t.file.number)
			if err != nil {
				return err
			}
			if !fn(hit{t, p*pageEntries + i, h}) {
				return nil
			}
		}
	}
	return nil
}

// lastOf returns the place of the last entry that is not behind k, or -1.
func lastOf(es []byte, k key) int {
	from, to := 0, len(es)/entryLen
	for from < to {
		m := (from + to) / 2
		if readKey(es[m*entryLen:]).compare(k) > 0 {
			to = m
		} else {
			from = m + 1
		}
	}
	return from - 1
}

// openFooter reads where the parts of a sealed file's footer lie, and sums it
// up; ok is false if f is not sealed in the present version.
func openFooter(f vfs.File, number uint64, size int64) (g geometry, s *summary, ok bool, err error) {
	b := make([]byte, min(4096, size))
	if err := vfs.Lost(readFull(f, b, size-int64(len(b)))); err != nil {
		return g, nil, false, err
	}
	off, n, sealed := readTrailer(b, size)
	if !sealed || n < footerFixed || len(b) < trailerLen+4+tailLen {
		return g, nil, false, nil
	}
	at := len(b) - trailerLen - 4
	if g, ok = decodeTail(b[at-tailLen:at], number, off, n); !ok {
		return g, nil, false, nil
	}
	sum := make([]byte, g.sumLen)
	if from := at - tailLen - len(sum); from >= 0 {
		copy(sum, b[from:])
	} else if err := vfs.Lost(readFull(f, sum, off+n-4-tailLen-int64(len(sum)))); err != nil {
		return g, nil, false, err
	}
	if s, err = decodeSummary(sum, number); err != nil {
		return g, nil, false, err
	}
	return g, s, true, nil
}

// errStale says that a listing was replaced, or its file is gone.
var errStale = errors.New("listing is replaced")

// recover lists a file from its records, since what was read of its listing
// does not hold. The next search finds the new one.
func (l *Log) recover(t *listing, reason error) error {
	l.mending.Lock()
	defer l.mending.Unlock()
	l.mu.RLock()
	stale := t.file.list != t || l.files[t.file.number] != t.file || l.closed
	l.mu.RUnlock()
	if stale {
		return errStale
	}
	if t.mem != nil {
		return fmt.Errorf("listing in memory: %w", reason) // a bug: it was made here
	}
	s := &scan{end: sector}
	if err := s.records(t.file, t.file.number, t.off, t.off); err != nil {
		return errors.Join(reason, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.note(t.file, append(s.damage, Damage{Off: t.off, Reason: "footer: " + reason.Error()}))
	anew, _ := inMemory(t.file, s.headers, t.off)
	l.relist(t.file, anew)
	return nil
}

// inMemory lists records in memory, for a footer that would lie at off.
func inMemory(f *logFile, hs []*header, off int64) (*listing, *summary) {
	foot := encodeFooter(f.number, off, hs)
	t := newListing(f, &foot.geometry, &foot.summary)
	t.mem = foot.bytes
	return t, &foot.summary
}

// relist gives a file another listing. Log.mu is held.
func (l *Log) relist(f *logFile, t *listing) {
	if old := f.list; old != nil {
		l.directories.Remove(old.id)
		if t.same(old) {
			t.dead, t.deadCount, t.deadBytes = old.dead, old.deadCount, old.deadBytes
		}
		for p := range int(old.pages) {
			l.pages.Remove(pageKey{old.id, p})
		}
	}
	f.list = t
	l.shape++
}

// note remembers damage that was found, and tells the operator. Log.mu is held.
func (l *Log) note(f *logFile, ds []Damage) {
	for _, d := range ds {
		d.File = logFiles.Name(l.dir, f.number)
		l.damaged = append(l.damaged, d)
		l.o.Logger.Error("shard log is damaged; the shards there will be rebuilt", "file", d.File, "off", d.Off, "len", d.Len, "reason", d.Reason)
	}
}
