package segment

import (
	"errors"
	"log/slog"
	"os"

	"golang.org/x/sync/errgroup"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
)

// openAtOnce is how many files are opened at the same time: most of opening is
// waiting for the disk.
const openAtOnce = 16

// Open opens the shard log in dir, creating it if there is none. Of a sealed
// file the end of its footer is read; a file that was not sealed is scanned, its
// torn tail is cut, and it is sealed. The caller keeps other processes away from dir.
func Open(dir string, o Options) (*Log, error) {
	if o.FileSize == 0 {
		o.FileSize = 256 << 20
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 16 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	fail := func(err error) (*Log, error) {
		return nil, &redoubt.Error{Op: "open shard log", Object: dir, Err: err}
	}
	if err := vfs.MakeDir(o.FS, dir, 2); err != nil { // and the folder of the node's data around it
		return fail(err)
	}
	numbers, err := logFiles.List(o.FS, dir)
	if err != nil {
		return fail(err)
	}
	l := &Log{o: o, dir: dir, open: map[key]record{}, series: map[seriesName]uint32{}, files: map[uint64]*logFile{}, ranges: newRanges(o.CacheBytes / 8),
		pages: cache.New[pageKey, []byte](o.CacheBytes / 2), directories: cache.New[uint64, *directory](o.CacheBytes / 4),
		headers: cache.New[place, *header](o.CacheBytes / 8), queue: make(chan *request, 256), done: make(chan struct{})}
	if err := l.loadAll(numbers); err != nil {
		return fail(errors.Join(err, closeAll(l.files)))
	}
	w := &writer{l: l, appended: make(chan *batch, maxUnsynced)}
	if len(numbers) > 0 {
		w.number = numbers[len(numbers)-1]
	}
	l.stopped.Add(1)
	go w.run()
	return l, nil
}

// loadAll opens the files, some at once, and enters what they list.
func (l *Log) loadAll(numbers []uint64) error {
	all := make([]loaded, len(numbers))
	var g errgroup.Group
	g.SetLimit(openAtOnce)
	for i, n := range numbers {
		g.Go(func() error { return l.load(n, &all[i]) })
	}
	err := g.Wait()
	for i, n := range numbers {
		a := &all[i]
		if a.file == nil {
			continue
		}
		l.files[n] = a.file
		if a.list == nil {
			continue // of another file there was an error
		}
		l.enter(a.file, a.list, a.summary)
		l.bytes += a.file.bytes
		l.note(a.file, a.damage)
	}
	l.ranges.settle()
	return err
}

// loaded is what load found.
type loaded struct {
	file    *logFile
	list    *listing
	summary *summary
	damage  []Damage
}

func (l *Log) load(n uint64, out *loaded) error {
	name := logFiles.Name(l.dir, n)
	f, err := l.o.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	out.file = &logFile{File: f, number: n}
	size, err := f.Size()
	if err != nil {
		return err
	}
	b := make([]byte, min(sector, size))
	if err := readFull(f, b, 0); err != nil {
		return err
	}
	headerErr := checkFileHeader(b, n)
	if errors.Is(headerErr, redoubt.ErrVersion) {
		return &redoubt.Error{Op: "read", Object: name, Err: headerErr}
	}
	out.file.bytes = size
	g, sum, ok, err := openFooter(f, n, size)
	switch {
	case ok:
		out.list, out.summary = newListing(out.file, &g, sum), sum
	case err != nil && !errors.Is(err, redoubt.ErrCorrupt):
		return err
	default:
		if err := l.loadOther(out, size, headerErr); err != nil || out.file == nil {
			return err
		}
	}
	if headerErr != nil {
		out.damage = append(out.damage, Damage{Off: 0, Len: sector, Reason: headerErr.Error()})
	}
	return nil
}

// loadOther lists a file whose footer is of an older version, does not hold, or
// is not there: then it is written. A file without any record is removed.
func (l *Log) loadOther(out *loaded, size int64, headerErr error) error {
	f, n := out.file, out.file.number
	s, err := scanFile(f, n, size)
	if err != nil {
		return &redoubt.Error{Op: "read", Object: logFiles.Name(l.dir, n), Err: err}
	}
	if headerErr != nil && len(s.headers) == 0 && len(s.damage) == 0 {
		// Power was cut between creating the file and its first record.
		out.file = nil
		if err := errors.Join(f.Close(), l.o.FS.Remove(logFiles.Name(l.dir, n))); err != nil {
			return err
		}
		return l.o.FS.SyncDir(l.dir)
	}
	out.damage = s.damage
	if s.sealed {
		out.list, out.summary = inMemory(f, s.headers, s.end)
		return nil
	}
	l.o.Logger.Info("shard log file was not sealed; scanned it", "file", logFiles.Name(l.dir, n), "records", len(s.headers), "end", s.end)
	foot, err := sealFile(f, n, s.end, s.headers)
	if vfs.IsNoSpace(err) { // of an earlier version, whose footer had no room of its own
		l.o.Logger.Warn("no room to seal a shard log file; the scrub or the next start does it", "file", logFiles.Name(l.dir, n), "err", err)
		out.list, out.summary = inMemory(f, s.headers, s.end)
		return nil
	} else if err != nil {
		return err
	}
	f.bytes = foot.off + foot.length() + trailerLen
	out.list, out.summary = newListing(f, &foot.geometry, &foot.summary), &foot.summary
	return nil
}

// scan is what a file holds.
type scan struct {
	headers   []*header
	damage    []Damage
	end       int64 // where records end
	sealed    bool
	version   uint16 // of the footer of a sealed file
	headerErr error  // the file header is bad
}

// scanFile reads a file's whole footer or, if it has none, its records.
func scanFile(f vfs.File, n uint64, size int64) (*scan, error) {
	s := &scan{end: sector}
	b := make([]byte, min(sector, size))
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	if s.headerErr = checkFileHeader(b, n); errors.Is(s.headerErr, redoubt.ErrVersion) {
		return nil, s.headerErr
	}
	hs, version, off, ok, err := readFooter(f, n, size)
	switch {
	case errors.Is(err, redoubt.ErrVersion):
		return nil, err
	case errors.Is(err, redoubt.ErrCorrupt):
		s.damage = append(s.damage, Damage{Off: size, Reason: "footer: " + err.Error()})
	case err != nil:
		return nil, err
	case ok:
		s.headers, s.sealed, s.version, s.end = hs, true, version, size
		return s, nil
	}
	return s, s.records(f, n, size, off)
}

// records visits the records one by one. What fails above the durable
// watermark is the torn tail of a crash: it was never acknowledged, and the
// scan ends there. What fails below is damage: it is reported and passed over.
// The watermark is what the records say, and at least known: where the footer of a
// file begins all before it is durable. 0: nothing is known.
func (s *scan) records(f vfs.File, n uint64, size, known int64) error {
	watermark := known
	pos := int64(sector)
	for pos+fixedLen <= size {
		h, err := readHeader(f, n, pos, size)
		if errors.Is(err, redoubt.ErrVersion) {
			return err
		}
		if err != nil {
			if isFooter(f, pos) {
				break
			}
			next, torn, ferr := afterBad(f, n, pos, size, watermark)
			if ferr != nil {
				return ferr
			}
			if torn {
				break
			}
			s.damage = append(s.damage, Damage{Off: pos, Len: next - pos, Reason: err.Error()})
			pos = next
			continue
		}
		watermark = max(watermark, h.Durable)
		s.headers = append(s.headers, h)
		pos += h.total()
	}
	s.end = pos
	// Bodies above the watermark may be torn although their header is whole.
	for i, h := range s.headers {
		if h.Offset+h.total() <= watermark {
			continue
		}
		if err := checkBody(f, h); errors.Is(err, redoubt.ErrCorrupt) {
			s.headers, s.end = s.headers[:i], h.Offset
			break
		} else if err != nil {
			return err
		}
	}
	return nil
}

// afterBad returns where the first valid record behind a bad one at pos is, or
// that nothing says that pos was ever durable. Records right behind it may have been
// written while it was being made durable; so the later ones are asked, too.
func afterBad(f vfs.File, n uint64, pos, size, watermark int64) (next int64, torn bool, err error) {
	next, h, err := findRecord(f, n, pos+sector, size)
	for at := next; err == nil && h != nil && max(watermark, h.Durable) <= pos; {
		at, h, err = findRecord(f, n, at+h.total(), size)
	}
	if h == nil && pos < watermark { // the last records of a sealed file
		return watermark, false, err
	}
	return next, h == nil, err
}

func readHeader(f vfs.File, n uint64, pos, size int64) (*header, error) {
	b := make([]byte, min(4096, size-pos))
	if err := readFull(f, b, pos); err != nil {
		return nil, err
	}
	want, err := headerLen(b)
	if err != nil {
		return nil, err
	}
	if want > len(b) {
		if int64(want) > size-pos {
			return nil, corrupt("header passes the end")
		}
		b = make([]byte, want)
		if err := readFull(f, b, pos); err != nil {
			return nil, err
		}
	}
	h, err := decodeHeader(b)
	if err != nil {
		return nil, err
	}
	if h.File != n || h.Offset != pos {
		return nil, corrupt("record of another place")
	}
	if pos+h.total() > roundUp(size) {
		return nil, corrupt("record passes the end")
	}
	return h, nil
}

func checkBody(f vfs.File, h *header) error {
	b := make([]byte, h.HeadLen+h.ShardLen)
	if err := readFull(f, b, h.Offset+int64(h.Len)); err != nil {
		return err
	}
	return h.checkParts(b)
}

// checkParts verifies head and shard, which follow one another in b.
func (h *header) checkParts(b []byte) error {
	if h.Type == typeTombstone {
		return nil // its header is all of it
	}
	bind := h.ID.bind()
	if headSum(bind, b[:h.HeadLen]) != h.HeadCRC {
		return corrupt("head")
	}
	data := b[h.HeadLen:]
	for i, want := range h.Chunks {
		at := i * int(h.ChunkSize)
		if chunkSum(bind, i, data[at:min(at+int(h.ChunkSize), len(data))]) != want {
			return corrupt("chunk")
		}
	}
	return nil
}

func isFooter(f vfs.File, pos int64) bool {
	var b [4]byte
	return readFull(f, b[:], pos) == nil && string(b[:]) == footerMagic
}

// findRecord looks for the next valid record at or after pos.
func findRecord(f vfs.File, n uint64, pos, size int64) (int64, *header, error) {
	buf := make([]byte, 1<<20)
	for pos+fixedLen <= size {
		b := buf[:min(int64(len(buf)), size-pos)]
		if err := readFull(f, b, pos); err != nil {
			return 0, nil, err
		}
		for i := 0; i+4 <= len(b); i += sector {
			if string(b[i:i+4]) != recordMagic {
				continue
			}
			if h, err := readHeader(f, n, pos+int64(i), size); err == nil {
				return pos + int64(i), h, nil
			}
		}
		pos += int64(len(b))
	}
	return size, nil, nil
}
