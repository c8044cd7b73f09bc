package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"golang.org/x/sys/unix"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Of a node's folder:
//
//	lock         held while a node has it open
//	node.json    who the node is (identity.go)
//	wal/         the Raft log, by raft-wal, and its meta database
//	snapshots/   the catalog's snapshots, by hashicorp/raft
const (
	walDir      = "wal"
	snapshotDir = "snapshots"
	lockFile    = "lock"

	walSegment    = 8 << 20 // bytes; entries are small, and a segment is the unit of trimming
	keepSnapshots = 2
	logCache      = 1024 // entries that followers are fed from memory
)

// store is what Raft keeps on disk.
type store struct {
	lock      *os.File
	log       raft.LogStore
	stable    raft.StableStore
	snapshots raft.SnapshotStore
	checked   *checkedLog
}

func openStore(dir string, log *slog.Logger, dog *watchdog, appended func([]*raft.Log), lying func(error)) (_ *store, err error) {
	if err := errors.Join(vfs.MakeDir(vfs.OS, filepath.Join(dir, walDir), 2), vfs.MakeDir(vfs.OS, filepath.Join(dir, snapshotDir), 1)); err != nil {
		return nil, fail("open raft store", dir, err, "")
	}
	s := &store{}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	if s.lock, err = lockDir(dir); err != nil {
		return nil, err
	}
	raftLog := newRaftLogger(log)
	w, err := wal.Open(filepath.Join(dir, walDir), wal.WithSegmentSize(walSegment), wal.WithLogger(raftLog))
	if err != nil {
		return nil, fail("open raft log", dir, err, "`redoubt catalog verify` of this folder checks it; a node that lost its log comes back under a new name")
	}
	s.checked = newCheckedLog(w, reporter(log, lying))
	s.stable = watchedStable{w, dog}
	if s.log, err = raft.NewLogCache(logCache, watchedLog{s.checked, dog, appended}); err != nil {
		return nil, fail("open raft log", dir, err, "")
	}
	if s.snapshots, err = raft.NewFileSnapshotStoreWithLogger(dir, keepSnapshots, raftLog); err != nil {
		return nil, fail("open raft snapshots", dir, err, "")
	}
	return s, nil
}

func (s *store) close() {
	if s.checked != nil {
		_ = s.checked.Close() // closes the log under it
	}
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// lockDir keeps a second node out of the folder: the stores below would wait
// for each other or mix their files.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fail("lock folder", dir, err, "")
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, fail("lock folder", dir, fmt.Errorf("%w: %w", err, redoubt.ErrUnavailable), "another redoubtd runs in it")
	}
	return f, nil
}
