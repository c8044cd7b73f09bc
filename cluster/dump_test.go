package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/verifier"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

func TestVerifyFindsDamage(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	h := s.nodes[0]
	s.propose(h, createG("g"))
	for range 20 {
		s.commitNext(h, "g", 2)
	}
	noErr(t, h.node.Snapshot())
	h.stop()
	whole, err := Verify(h.dir)
	if err != nil || whole.Snapshots != 1 || whole.Entries < 20 {
		t.Fatalf("%+v, %v", whole, err)
	}
	files, err := filepath.Glob(filepath.Join(h.dir, walDir, "*.wal"))
	noErr(t, err)
	snap, err := filepath.Glob(filepath.Join(h.dir, snapshotDir, "*", "state.bin"))
	noErr(t, err)
	if len(files) != 1 || len(snap) != 1 {
		t.Fatalf("files %v, %v", files, snap)
	}
	flip := func(path string, at int) {
		t.Helper()
		raw, err := os.ReadFile(path)
		noErr(t, err)
		raw[at] ^= 0x10
		noErr(t, os.WriteFile(path, raw, 0o600))
		// In the version it looks like a newer format.
		if r, err := Verify(h.dir); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Errorf("%s, byte %d: %+v, %v", filepath.Base(path), at, r, err)
		}
		raw[at] ^= 0x10
		noErr(t, os.WriteFile(path, raw, 0o600))
	}
	raw, err := os.ReadFile(snap[0])
	noErr(t, err)
	for range 20 {
		flip(snap[0], rng.IntN(len(raw)))
	}
	log, err := os.ReadFile(files[0])
	noErr(t, err)
	// Every byte of the header and of the first frames, then any byte up to the
	// last batch, in which a flip could be a torn write.
	var starts []int
	for at, ok := 0, true; ok; at, _, ok = readBatch(log, at) {
		starts = append(starts, at)
	}
	if len(starts) < 10 {
		t.Fatalf("%d batches in the log", len(starts))
	}
	last, end := starts[len(starts)-2], starts[len(starts)-1]
	for at := range walHeaderSize + 2*walFrameSize {
		flip(files[0], at)
	}
	for at := range walFrameSize { // the commit in front of the last batch
		flip(files[0], last-walFrameSize+at)
	}
	for range 200 {
		flip(files[0], rng.IntN(last))
	}
	at := last + rng.IntN(end-last)
	log[at] ^= 0x10
	noErr(t, os.WriteFile(files[0], log, 0o600))
	if r, err := Verify(h.dir); errors.Is(err, redoubt.ErrVersion) || (err == nil && r.TornBytes == 0) {
		t.Errorf("byte %d of the last batch: %+v, %v", at, r, err)
	}
	log[at] ^= 0x10
	noErr(t, os.WriteFile(files[0], log, 0o600))
	if r, err := Verify(h.dir); err != nil || r != whole {
		t.Errorf("mended: %+v, %v", r, err)
	}
	if _, err := Verify(t.TempDir()); err == nil {
		t.Error("an empty folder is no node's folder")
	}
}

func TestLogIsComparedBetweenNodes(t *testing.T) {
	var log lockedBuffer
	var lies error
	report := reporter(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})), func(err error) { lies = err })
	report(verifier.VerificationReport{Err: verifier.ErrRangeMismatch})
	if lies != nil {
		t.Fatalf("a range that was trimmed is no damage: %v", lies)
	}
	report(verifier.VerificationReport{Err: verifier.ErrChecksumMismatch("read 1, wrote 2")})
	if !errors.Is(lies, redoubt.ErrCorrupt) || redoubt.Hint(lies) == "" {
		t.Fatalf("got %v", lies)
	}

	// And the leader does make checkpoints, which the nodes check.
	s := newSite(t, 3)
	s.propose(s.nodes[0], createG("g"))
	s.eventually(func() bool {
		for _, h := range s.nodes {
			if !strings.Contains(h.log.String(), "raft log verified") {
				return false
			}
		}
		return true
	}, "a verified log on every node")
}

// lockedBuffer collects a log.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// No byte of the meta database and of node.json can change unseen, unless it is
// in no use, or in a number or name that could as well be another one: bbolt has no
// checksum of its pages.
func TestVerifyFindsDamageOfTheMetaFiles(t *testing.T) {
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	h := s.nodes[0]
	s.propose(h, createG("g"))
	noErr(t, h.node.Snapshot())
	h.stop()
	whole, err := Verify(h.dir)
	if err != nil || whole.Node != string(h.id) || whole.Term == 0 {
		t.Fatalf("%+v, %v", whole, err)
	}

	path := filepath.Join(h.dir, walDir, metadb.FileName)
	raw, err := os.ReadFile(path)
	noErr(t, err)
	meta, err := decodeMeta(raw)
	noErr(t, err)
	if meta.Term != whole.Term || len(meta.Files) == 0 {
		t.Fatalf("%+v", meta)
	}
	buckets, _, err := readBolt(raw)
	noErr(t, err)
	open := func(at int) bool { // in a value
		for _, b := range buckets {
			for _, v := range b {
				if first := int(uintptr(unsafe.Pointer(unsafe.SliceData(v))) - uintptr(unsafe.Pointer(unsafe.SliceData(raw)))); at >= first && at < first+len(v) {
					return true
				}
			}
		}
		return false
	}
	found, idle, other := 0, 0, 0
	for at := range raw {
		bit := byte(1) << rng.IntN(8)
		raw[at] ^= bit
		m, err := decodeMeta(raw)
		if err == nil {
			err = m.compare(h.dir)
		}
		raw[at] ^= bit
		switch {
		case errors.Is(err, redoubt.ErrCorrupt) || errors.Is(err, redoubt.ErrVersion):
			found++
		case err != nil:
			t.Fatalf("byte %d: %v", at, err)
		case reflect.DeepEqual(m, meta):
			idle++
		case open(at):
			other++
		default:
			t.Errorf("byte %d: %+v", at, m)
		}
	}
	t.Logf("%d bytes: %d are missed, %d are in no use, %d make another value", len(raw), found, idle, other)
	if found < 300 || other > 200 {
		t.Errorf("%d are missed, %d make another value", found, other)
	}
	// Whatever is cut off is missed, and of a term that is lost the log knows.
	for _, n := range []int{0, 10, 100, 4096, len(raw) / 2} {
		if _, err := decodeMeta(raw[:n]); !errors.Is(err, redoubt.ErrCorrupt) {
			t.Errorf("%d bytes of it: %v", n, err)
		}
	}
	term := buckets[metadb.StableBucket][keyTerm]
	vote := buckets[metadb.StableBucket][keyVoteTerm]
	if len(vote) != 8 || meta.Term < 2 {
		t.Fatalf("no vote, or term %d", meta.Term)
	}
	term[0], vote[0] = 1, 1 // the log has entries of a later one
	noErr(t, os.WriteFile(path, raw, 0o600))
	if _, err := Verify(h.dir); !errors.Is(err, redoubt.ErrCorrupt) {
		t.Errorf("an older term: %v", err)
	}
	term[0], vote[0] = byte(meta.Term), byte(meta.VoteTerm)
	noErr(t, os.WriteFile(path, raw, 0o600))

	who := filepath.Join(h.dir, identityFile)
	id, err := os.ReadFile(who)
	noErr(t, err)
	for at := range id {
		for bit := range 8 {
			id[at] ^= 1 << bit
			noErr(t, os.WriteFile(who, id, 0o600))
			if _, err := Verify(h.dir); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
				t.Errorf("node.json, byte %d, bit %d: %q: %v", at, bit, id, err)
			}
			id[at] ^= 1 << bit
		}
	}
	noErr(t, os.WriteFile(who, id, 0o600))
	if r, err := Verify(h.dir); err != nil || r != whole {
		t.Errorf("mended: %+v, %v", r, err)
	}
	var out bytes.Buffer
	noErr(t, Dump(h.dir, &out))
	for _, line := range []string{`"type":"Node"`, `"type":"Meta"`} {
		if !strings.Contains(out.String(), line) {
			t.Errorf("the dump has no %s", line)
		}
	}
}

// Nothing that a meta database may hold makes reading it fail otherwise than as damage.
func FuzzMetaDatabase(f *testing.F) {
	dir := f.TempDir()
	db := &metadb.BoltMetaDB{}
	if _, err := db.Load(dir); err != nil {
		f.Fatal(err)
	}
	if err := errors.Join(db.SetStable([]byte(keyTerm), make([]byte, 8)), db.Close()); err != nil {
		f.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(dir, metadb.FileName))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if _, err := decodeMeta(raw); err != nil && !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Fatal(err)
		}
	})
}
