package segment

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"sort"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/cache"
)

const headerCacheBytes = 4 << 20

// Open opens the shard log in dir, creating it if there is none. Sealed files
// are read by their footers; a file that was not sealed is scanned, its torn
// tail is cut, and it is sealed. The caller keeps other processes away from dir.
func Open(dir string, o Options) (*Log, error) {
	if o.FileSize == 0 {
		o.FileSize = 256 << 20
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	fail := func(err error) (*Log, error) {
		return nil, &redoubt.Error{Op: "open shard log", Object: dir, Err: err}
	}
	if err := o.FS.MkdirAll(dir, 0o700); err != nil {
		return fail(err)
	}
	if err := o.FS.SyncDir(filepath.Dir(dir)); err != nil {
		return fail(err)
	}
	numbers, err := listFiles(o.FS, dir)
	if err != nil {
		return fail(err)
	}
	l := &Log{o: o, dir: dir, at: map[key]place{}, series: map[seriesName]uint32{}, files: map[uint64]vfs.File{}, sums: map[uint64]FileInfo{},
		headers: cache.New[place, *header](headerCacheBytes), queue: make(chan *request, 256), done: make(chan struct{})}
	w := &writer{l: l}
	for _, n := range numbers {
		if err := l.load(n); err != nil {
			closeAll(l.files)
			return fail(err)
		}
		w.number = n
	}
	l.stopped.Add(1)
	go w.run()
	return l, nil
}

func listFiles(fs vfs.FS, dir string) ([]uint64, error) {
	es, err := fs.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var ns []uint64
	for _, e := range es {
		if n, ok := parseFileName(e.Name()); ok {
			ns = append(ns, n)
		}
	}
	sort.Slice(ns, func(i, j int) bool { return ns[i] < ns[j] })
	return ns, nil
}

// load enters one file into the map.
func (l *Log) load(n uint64) error {
	name := fileName(l.dir, n)
	f, err := l.o.FS.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	size, err := f.Size()
	if err != nil {
		f.Close()
		return err
	}
	s, err := scanFile(f, n, size)
	if err != nil {
		f.Close()
		return &redoubt.Error{Op: "read", Object: name, Err: err}
	}
	if s.headerErr != nil {
		if len(s.headers) == 0 && len(s.damage) == 0 {
			// Power was cut between creating the file and its first record.
			f.Close()
			if err := l.o.FS.Remove(name); err != nil {
				return err
			}
			return l.o.FS.SyncDir(l.dir)
		}
		s.damage = append(s.damage, Damage{Off: 0, Len: sector, Reason: s.headerErr.Error()})
	}
	l.files[n] = f
	l.sums[n] = FileInfo{Number: n, Bytes: size, Sealed: true}
	for _, h := range s.headers {
		l.apply(h)
	}
	for _, d := range s.damage {
		d.File = name
		l.damaged = append(l.damaged, d)
		l.o.Logger.Error("shard log is damaged; the shards there will be rebuilt", "file", name, "off", d.Off, "len", d.Len, "reason", d.Reason)
	}
	if !s.sealed {
		l.o.Logger.Info("shard log file was not sealed; scanned it", "file", name, "records", len(s.headers), "end", s.end)
		if err := sealFile(f, s.end, s.headers); err != nil {
			return err
		}
		if size, err = f.Size(); err != nil {
			return err
		}
	}
	info := l.sums[n]
	info.Bytes = size
	l.sums[n] = info
	l.bytes += size
	return nil
}

// scan is what a file holds.
type scan struct {
	headers   []*header
	damage    []Damage
	end       int64 // where records end
	sealed    bool
	headerErr error // the file header is bad
}

// scanFile reads a file's footer or, if it has none, its records.
func scanFile(f vfs.File, n uint64, size int64) (*scan, error) {
	s := &scan{end: sector}
	b := make([]byte, min(sector, size))
	if err := readFull(f, b, 0); err != nil {
		return nil, err
	}
	if s.headerErr = checkFileHeader(b, n); errors.Is(s.headerErr, redoubt.ErrVersion) {
		return nil, s.headerErr
	}
	hs, ok, err := readFooter(f, n, size)
	switch {
	case errors.Is(err, redoubt.ErrVersion):
		return nil, err
	case errors.Is(err, redoubt.ErrCorrupt):
		s.damage = append(s.damage, Damage{Off: size, Reason: "footer: " + err.Error()})
	case err != nil:
		return nil, err
	case ok:
		s.headers, s.sealed, s.end = hs, true, size
		return s, nil
	}
	return s, s.records(f, n, size)
}

// records visits the records one by one. What fails above the durable
// watermark is the torn tail of a crash: it was never acknowledged, and the
// scan ends there. What fails below is damage: it is reported and passed over.
func (s *scan) records(f vfs.File, n uint64, size int64) error {
	var watermark int64
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
			next, hn, ferr := findRecord(f, n, pos+sector, size)
			if ferr != nil {
				return ferr
			}
			if hn == nil || max(watermark, hn.Durable) <= pos {
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
