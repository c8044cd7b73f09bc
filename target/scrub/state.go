package scrub

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// Findings counts what a pass came across.
type Findings struct {
	Shards  uint64 `json:"shards"` // checked
	Bytes   uint64 `json:"bytes"`
	Rotten  uint64 `json:"rotten"`  // did not match, or could not be read; forgotten and rebuilt
	Missing uint64 `json:"missing"` // named by the catalog, not in the log; rebuilt
	Orphans uint64 `json:"orphans"` // in the log, named by nobody at present; kept
	Deleted uint64 `json:"deleted"` // in the log, and never to be named again
	Files   uint64 `json:"files"`   // log files whose own structure was damaged; written anew
	Runs    uint64 `json:"runs"`    // runs of the index that did not match; built again
}

// State is where the scrub is. It survives a restart.
//
// File DIR/scrub: the state as one line of JSON, then CRC32C of that line (without its end)
// as eight hexadecimal digits and the end of a line.
type State struct {
	Version  int      `json:"version"`
	Pass     uint64   `json:"pass"`     // number of this pass, or of the last one; 0: there was none
	Running  bool     `json:"running"`  // a pass is under way
	Started  int64    `json:"started"`  // Unix nanoseconds
	Finished int64    `json:"finished"` // when the last whole pass was over
	File     uint64   `json:"file"`     // the next record is in this file of the log
	Off      int64    `json:"off"`      // at this place or later
	Done     int64    `json:"done"`     // bytes read in this pass
	Found    Findings `json:"found"`
	Last     Findings `json:"last"` // of the last whole pass
}

const (
	version  = 1
	FileName = "scrub" // in the store's folder
	maxState = 16 << 10
)

func (st *State) encode() []byte {
	st.Version = version
	b, err := json.Marshal(st)
	if err != nil {
		panic(err) // plain numbers only
	}
	return fmt.Appendf(b, "\n%08x\n", redoubt.Checksum(b))
}

func decodeState(b []byte) (State, error) {
	var st State
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || len(b) > maxState || !bytes.Equal(sum, fmt.Appendf(nil, "%08x\n", redoubt.Checksum(line))) {
		return st, fmt.Errorf("scrub state: %w", redoubt.ErrCorrupt)
	}
	if err := json.Unmarshal(line, &st); err != nil {
		return State{}, fmt.Errorf("scrub state: %w: %w", redoubt.ErrCorrupt, err)
	}
	if st.Version != version {
		return State{}, fmt.Errorf("scrub state of version %d: %w", st.Version, redoubt.ErrVersion)
	}
	return st, nil
}

// Load reads the state from the file at path; there is none at first, which is the
// zero value. ErrCorrupt, ErrVersion: it is not known where the scrub was.
func Load(fsys vfs.FS, path string) (State, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	}
	if err != nil {
		return State{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return State{}, err
	}
	if size > maxState {
		return State{}, fmt.Errorf("scrub state of %d bytes: %w", size, redoubt.ErrCorrupt)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return State{}, err
	}
	return decodeState(b)
}
