package cluster

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/bits"
	"net"
	"os"
	"path/filepath"

	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
	"github.com/hashicorp/raft-wal/types"

	"github.com/redoubt-dr/redoubt"
)

// What hashicorp/raft keeps in the meta database, beside raft-wal's own.
const (
	keyTerm     = "CurrentTerm"
	keyVoteTerm = "LastVoteTerm"
	keyVote     = "LastVoteCand"
)

// walMeta is what the meta database of the Raft log says.
type walMeta struct {
	Type     string              `json:"type"` // "Meta", in a dump
	Term     uint64              `json:"term"`
	VoteTerm uint64              `json:"vote_term"`
	Vote     string              `json:"vote"` // the address of who got this node's last vote
	Next     uint64              `json:"next_file"`
	Files    []types.SegmentInfo `json:"files"`
	state    types.PersistentState
}

// metaTries is how often a database is read that changes meanwhile.
const metaTries = 5

// readMeta reads the meta database of a node's folder and holds it against the
// log's files. A node may write it at that time: then it is read again.
func readMeta(dir string) (m walMeta, err error) {
	path := filepath.Join(dir, walDir, metadb.FileName)
	var before []byte
	for range metaTries {
		raw, rerr := readUpTo(path, boltMax)
		if rerr != nil {
			return m, fail("read raft meta database", path, rerr, "is this the cluster folder of a target node?")
		}
		if before != nil && bytes.Equal(raw, before) {
			break // it does not change: the fault is real
		}
		before = raw
		if m, err = decodeMeta(raw); err == nil {
			err = m.compare(dir)
		}
		if err == nil {
			return m, nil
		}
	}
	return m, fail("verify raft meta database", path, err, "the node's vote or its list of log files is not to be trusted: replace it, redoubt node replace")
}

// readUpTo reads a file that is not longer than most bytes.
func readUpTo(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	raw, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(raw)) > most {
		err = damaged("more than %d bytes", most)
	}
	return raw, err
}

func decodeMeta(raw []byte) (walMeta, error) {
	m := walMeta{Type: "Meta"}
	buckets, _, err := readBolt(raw)
	if err != nil {
		return m, err
	}
	state, stable := buckets[metadb.MetaBucket], buckets[metadb.StableBucket]
	if len(buckets) != 2 || state == nil || stable == nil {
		return m, damaged("other buckets than raft-wal's")
	}
	for k, v := range state {
		if k != metadb.MetaKey {
			return m, damaged("key %q", k)
		}
		if err := strictJSON(v, &m.state); err != nil {
			return m, err
		}
	}
	for k, v := range stable {
		switch {
		case k == keyVote:
			m.Vote = string(v)
		case len(v) == 8 && k == keyTerm:
			m.Term = binary.LittleEndian.Uint64(v)
		case len(v) == 8 && k == keyVoteTerm:
			m.VoteTerm = binary.LittleEndian.Uint64(v)
		default:
			return m, damaged("key %q with %d bytes", k, len(v))
		}
	}
	m.Next, m.Files = m.state.NextSegmentID, m.state.Segments
	if m.VoteTerm > m.Term {
		return m, damaged("a vote in term %d, which is after %d", m.VoteTerm, m.Term)
	}
	if (m.VoteTerm == 0) != (m.Vote == "") {
		return m, damaged("a vote for %q in term %d", m.Vote, m.VoteTerm)
	}
	if m.Vote != "" {
		host, port, err := net.SplitHostPort(m.Vote)
		if _, perr := net.LookupPort("tcp", port); err != nil || perr != nil || host == "" {
			return m, damaged("a vote for %q", m.Vote)
		}
	}
	return m, m.checkFiles()
}

// strictJSON decodes what json.Marshal has written, and nothing else.
func strictJSON(raw []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt)
	}
	if again, err := json.Marshal(v); err != nil || !bytes.Equal(again, raw) {
		return damaged("not as it was written: %.60q", raw)
	}
	return nil
}

// checkFiles checks that the log's files follow one another, and that all but
// the last are sealed.
func (m *walMeta) checkFiles() error {
	ids := map[uint64]bool{}
	for i, s := range m.Files {
		tail := i == len(m.Files)-1
		if s.ID >= m.Next || ids[s.ID] || s.Codec != wal.CodecBinaryV1 || bits.OnesCount32(s.SizeLimit) != 1 || s.CreateTime.IsZero() {
			return damaged("log file %d", s.ID)
		}
		ids[s.ID] = true
		if tail != s.SealTime.IsZero() || tail != (s.MaxIndex == 0) || tail != (s.IndexStart == 0) || !tail && s.SealTime.Before(s.CreateTime) {
			return damaged("log file %d: sealed, and the last, or neither", s.ID)
		}
		if s.MinIndex < s.BaseIndex || !tail && s.MinIndex > s.MaxIndex || i > 0 && (s.MinIndex != s.BaseIndex || s.BaseIndex != m.Files[i-1].MaxIndex+1) {
			return damaged("log file %d: entries from %d, which begin at %d, to %d", s.ID, s.BaseIndex, s.MinIndex, s.MaxIndex)
		}
	}
	return nil
}

// compare looks for the files that the database names.
func (m *walMeta) compare(dir string) error {
	for _, s := range m.Files {
		name := fmt.Sprintf("%020d-%016x.wal", s.BaseIndex, s.ID)
		f, err := os.Open(filepath.Join(dir, walDir, name))
		if errors.Is(err, fs.ErrNotExist) && s.SealTime.IsZero() {
			continue // raft-wal makes a file after it has named it
		}
		if err != nil {
			return fmt.Errorf("%w: %w", err, redoubt.ErrCorrupt)
		}
		err = compareFile(f, &s)
		_ = f.Close()
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// compareFile checks that a sealed file has its index where the database says so.
func compareFile(f io.ReaderAt, s *types.SegmentInfo) error {
	if s.IndexStart == 0 {
		return nil
	}
	var b [walFrameSize]byte
	if s.IndexStart < walHeaderSize+walFrameSize || s.IndexStart > walFileMax {
		return damaged("index at %d", s.IndexStart)
	}
	if _, err := f.ReadAt(b[:], int64(s.IndexStart)-walFrameSize); err != nil {
		return fmt.Errorf("index at %d: %w: %w", s.IndexStart, err, redoubt.ErrCorrupt)
	}
	if b[0] != frameIndex || b[1]|b[2]|b[3] != 0 || int64(binary.LittleEndian.Uint32(b[4:]))/4 < int64(s.MaxIndex-s.BaseIndex+1) {
		return damaged("no index of its entries at %d", s.IndexStart)
	}
	return nil
}
