package cluster

import (
	"bytes"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

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
