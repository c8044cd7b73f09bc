package target

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

// ScrubFindings counts what a pass came across.
type ScrubFindings struct {
	Shards  uint64 `json:"shards"` // checked
	Bytes   uint64 `json:"bytes"`
	Rotten  uint64 `json:"rotten"`  // did not match, or could not be read; forgotten and rebuilt
	Missing uint64 `json:"missing"` // named by the catalog, not in the log; rebuilt
	Orphans uint64 `json:"orphans"` // in the log, named by nobody at present; kept
	Deleted uint64 `json:"deleted"` // in the log, and never to be named again
	Files   uint64 `json:"files"`   // log files whose own structure was damaged; written anew
	Runs    uint64 `json:"runs"`    // runs of the index that did not match; built again
}

// scrubState is where the scrub is. It survives a restart.
//
// File DIR/scrub: the state as one line of JSON, then CRC32C of that line (without its end)
// as eight hexadecimal digits and the end of a line.
type scrubState struct {
	Version  int           `json:"version"`
	Pass     uint64        `json:"pass"`     // number of this pass, or of the last one; 0: there was none
	Running  bool          `json:"running"`  // a pass is under way
	Started  int64         `json:"started"`  // Unix nanoseconds
	Finished int64         `json:"finished"` // when the last whole pass was over
	File     uint64        `json:"file"`     // the next record is in this file of the log
	Off      int64         `json:"off"`      // at this place or later
	Done     int64         `json:"done"`     // bytes read in this pass
	Found    ScrubFindings `json:"found"`
	Last     ScrubFindings `json:"last"` // of the last whole pass
}

const (
	scrubVersion  = 1
	scrubFileName = "scrub"
	maxScrubState = 16 << 10
)

func (st *scrubState) encode() []byte {
	st.Version = scrubVersion
	b, err := json.Marshal(st)
	if err != nil {
		panic(err) // plain numbers only
	}
	return fmt.Appendf(b, "\n%08x\n", redoubt.Checksum(b))
}

func decodeScrubState(b []byte) (scrubState, error) {
	var st scrubState
	line, sum, ok := bytes.Cut(b, []byte("\n"))
	if !ok || len(b) > maxScrubState || !bytes.Equal(sum, fmt.Appendf(nil, "%08x\n", redoubt.Checksum(line))) {
		return st, fmt.Errorf("scrub state: %w", redoubt.ErrCorrupt)
	}
	if err := json.Unmarshal(line, &st); err != nil {
		return scrubState{}, fmt.Errorf("scrub state: %w: %w", redoubt.ErrCorrupt, err)
	}
	if st.Version != scrubVersion {
		return scrubState{}, fmt.Errorf("scrub state of version %d: %w", st.Version, redoubt.ErrVersion)
	}
	return st, nil
}

// loadScrubState reads the state; there is none at first.
func loadScrubState(fsys vfs.FS, path string) (scrubState, error) {
	f, err := fsys.OpenFile(path, os.O_RDONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return scrubState{}, nil
	}
	if err != nil {
		return scrubState{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return scrubState{}, err
	}
	if size > maxScrubState {
		return scrubState{}, fmt.Errorf("scrub state of %d bytes: %w", size, redoubt.ErrCorrupt)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return scrubState{}, err
	}
	return decodeScrubState(b)
}
