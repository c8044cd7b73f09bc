package cluster

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	walfs "github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
)

// DumpEntry is one line of a dump: an entry of the Raft log.
type DumpEntry struct {
	Index   uint64 `json:"index"`
	Term    uint64 `json:"term"`
	Type    string `json:"type"`              // Raft's type, such as LogCommand
	Command string `json:"command,omitempty"` // such as CommitSegments
	Client  string `json:"client,omitempty"`
	Serial  uint64 `json:"serial,omitempty"`
	Body    any    `json:"body,omitempty"`
	Error   string `json:"error,omitempty"` // why the entry cannot be read
}

// Dump writes who the node is, the meta database, the snapshots and the Raft log
// of a node's folder to w, one JSON object per line. It reads only and may run beside the node. Entries behind
// the end of the log that a later leader overwrote may be shown.
func Dump(dir string, w io.Writer) error {
	out := json.NewEncoder(w)
	who, err := readIdentity(dir)
	if err != nil {
		return err
	}
	meta, err := readMeta(dir)
	if err != nil {
		return err
	}
	if err := errors.Join(out.Encode(struct {
		Type string `json:"type"`
		identity
	}{"Node", who}), out.Encode(meta)); err != nil {
		return err
	}
	snaps, err := listSnapshots(dir)
	if err != nil {
		return err
	}
	for _, path := range snaps {
		s, err := openSnapshot(path)
		if err != nil {
			return err
		}
		if err := s.Dump(out, path); err != nil {
			return err
		}
	}
	return eachEntry(dir, func(l *raft.Log) error {
		return out.Encode(describe(l))
	})
}

func describe(l *raft.Log) DumpEntry {
	e := DumpEntry{Index: l.Index, Term: l.Term, Type: l.Type.String()}
	switch l.Type {
	case raft.LogCommand:
		v, err := catalog.DecodeEnvelope(l.Data)
		if err != nil {
			e.Error = err.Error()
			break
		}
		e.Command, e.Client, e.Serial = catalog.Name(v.Cmd), hex.EncodeToString(v.Client[:]), v.Serial
		if v.Cmd != nil {
			e.Body = v.Cmd
		}
	case raft.LogConfiguration:
		c, err := decodeConfiguration(l.Data)
		if err != nil {
			e.Error = err.Error()
			break
		}
		e.Body = c
	}
	return e
}

// decodeConfiguration returns as an error what raft panics with.
func decodeConfiguration(raw []byte) (c raft.Configuration, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%v", p)
		}
	}()
	return raft.DecodeConfiguration(raw), nil
}

// Report is what Verify found to be whole.
type Report struct {
	Node       string `json:"node"`
	Term       uint64 `json:"term"` // of Raft, as the meta database says
	Snapshots  int    `json:"snapshots"`
	Entries    int    `json:"entries"`
	FirstIndex uint64 `json:"first_index"`
	LastIndex  uint64 `json:"last_index"`
	TornBytes  int    `json:"torn_bytes"` // behind the last batch: of one that no crash let end
}

// Verify reads every snapshot and every log entry of a node's folder, its meta
// database and who it is, and checks formats and checksums. Where a file has no
// checksum it is held against what the others say. The error says what the first fault is; the report
// counts what was whole until then. It reads only. In the last batch of the log
// damage cannot be told from a write that a crash cut off: it counts as torn. A
// batch that the node writes just then does, too.
func Verify(dir string) (Report, error) {
	var r Report
	who, err := readIdentity(dir)
	if err != nil {
		return r, err
	}
	meta, err := readMeta(dir)
	if err != nil {
		return r, err
	}
	r.Node, r.Term = string(who.ID), meta.Term
	snaps, err := listSnapshots(dir)
	if err != nil {
		return r, err
	}
	named, term := names{}, uint64(0)
	for _, path := range snaps {
		s, err := openSnapshot(path)
		if err != nil {
			return r, err
		}
		for _, n := range s.Nodes() {
			named.add(n)
		}
		r.Snapshots++
	}
	if r.TornBytes, err = verifyFrames(dir); err != nil {
		return r, err
	}
	err = eachEntry(dir, func(l *raft.Log) error {
		if r.Entries > 0 && l.Index != r.LastIndex+1 {
			return fail("verify raft log", dir, fmt.Errorf("entry %d after %d: %w", l.Index, r.LastIndex, redoubt.ErrCorrupt), "")
		}
		if e := describe(l); e.Error != "" {
			return fail("verify raft log", dir, fmt.Errorf("entry %d: %s: %w", l.Index, e.Error, redoubt.ErrCorrupt), "")
		}
		if r.Entries == 0 {
			r.FirstIndex = l.Index
		}
		r.Entries++
		r.LastIndex = l.Index
		term = max(term, l.Term)
		if l.Type == raft.LogCommand {
			if v, err := catalog.DecodeEnvelope(l.Data); err == nil {
				named.command(v.Cmd)
			}
		}
		return nil
	})
	if err != nil {
		return r, err
	}
	if err := named.check(who); err != nil {
		return r, fail("verify node identity", filepath.Join(dir, identityFile), err, "the folder is another node's, or rotten: replace the node, redoubt node replace")
	}
	if meta, err = readMeta(dir); err == nil && term > meta.Term { // read again: a node may have gone on
		err = fail("verify raft meta database", dir, damaged("term %d, while the log has entries of term %d", meta.Term, term), "")
	}
	return r, err
}

// eachEntry calls fn with every entry in the log files.
func eachEntry(dir string, fn func(*raft.Log) error) error {
	path := filepath.Join(dir, walDir)
	if _, err := os.Stat(path); err != nil {
		return fail("read raft log", path, err, "is this the cluster folder of a target node?")
	}
	codec := &wal.BinaryCodec{}
	err := segment.NewFiler(path, walfs.New()).DumpLogs(0, 0, func(info types.SegmentInfo, e types.LogEntry) (bool, error) {
		if info.Codec != wal.CodecBinaryV1 {
			return false, fail("read raft log", path, redoubt.ErrVersion, "")
		}
		var l raft.Log
		if err := codec.Decode(e.Data, &l); err != nil {
			return false, fail("read raft log", path, fmt.Errorf("entry %d: %w: %w", e.Index, err, redoubt.ErrCorrupt), "")
		}
		if err := fn(&l); err != nil {
			return false, err
		}
		return true, nil
	})
	var ours *redoubt.Error
	if err != nil && !errors.As(err, &ours) {
		err = fail("read raft log", path, fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt), "")
	}
	return err
}

// listSnapshots returns the folders of whole snapshots, oldest first by name.
func listSnapshots(dir string) ([]string, error) {
	found, err := os.ReadDir(filepath.Join(dir, snapshotDir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fail("list snapshots", dir, err, "")
	}
	var out []string
	for _, e := range found {
		if e.IsDir() && filepath.Ext(e.Name()) != ".tmp" {
			out = append(out, filepath.Join(dir, snapshotDir, e.Name()))
		}
	}
	slices.Sort(out)
	return out, nil
}

func openSnapshot(path string) (*catalog.Snapshot, error) {
	f, err := os.Open(filepath.Join(path, "state.bin"))
	if err != nil {
		return nil, fail("read snapshot", path, err, "")
	}
	defer func() { _ = f.Close() }()
	s, err := catalog.ReadSnapshot(f)
	if err != nil {
		return nil, fail("read snapshot", path, err, "")
	}
	return s, nil
}
