package cluster

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/redoubt-dr/redoubt"
)

// The file format of raft-wal v0.4.2, little endian:
//
//	header  magic u32, reserved 3 bytes, version u8, base index u64, id u64, codec u64
//	frame   type u8, reserved 3 bytes, length u32; the data, padded with zeros to 8 bytes
//	commit  type u8, reserved 3 bytes, CRC32C of what came since the last commit, header included
//
// raft-wal looks at the sum of the last batch only, and at that only when a
// log is opened. verifyFrames looks at all of them.
const (
	walMagic      = 0x58eb6b0d
	walHeaderSize = 32
	walFrameSize  = 8
	walFileMax    = 1 << 30 // of a file of 8 MiB; one entry more may be in it
	frameEntry    = 1
	frameIndex    = 2
	frameCommit   = 3
)

// verifyFrames checks every checksum of the log files in a node's folder. What
// follows the last batch of the last file is what a crash left of a batch that
// was never answered: its length is returned, and it is no damage.
func verifyFrames(dir string) (torn int, err error) {
	files, err := filepath.Glob(filepath.Join(dir, walDir, "*.wal"))
	if err != nil {
		return 0, err
	}
	slices.Sort(files) // the names begin with the base index
	for i, path := range files {
		// A file that raft-wal has just made is empty; one that it drops is gone.
		st, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil && st.Size() > walFileMax {
			err = fmt.Errorf("%d bytes: %w", st.Size(), redoubt.ErrCorrupt)
		}
		var raw []byte
		if err == nil {
			raw, err = os.ReadFile(path)
		}
		if err == nil {
			torn, err = verifyFile(filepath.Base(path), raw, i == len(files)-1)
		}
		if err != nil {
			return 0, fail("verify raft log", path, err, "")
		}
	}
	return torn, nil
}

func verifyFile(name string, raw []byte, last bool) (torn int, err error) {
	end, sealed := 0, false
	for {
		next, index, ok := readBatch(raw, end)
		if !ok {
			break
		}
		end, sealed = next, index
	}
	if end > 0 {
		if err := checkHeader(name, raw); err != nil {
			return 0, err
		}
	}
	left := len(bytes.TrimRight(raw[end:], "\x00"))
	switch {
	case sealed && left > 0:
		return 0, fmt.Errorf("%d bytes behind the end of a sealed file: %w", left, redoubt.ErrCorrupt)
	case !sealed && (!last || laterBatch(raw, end)):
		return 0, fmt.Errorf("batch at %d: its checksum does not match: %w", end, redoubt.ErrCorrupt)
	}
	return left, nil
}

// checkHeader compares a header whose checksum is right with the file's name.
func checkHeader(name string, raw []byte) error {
	if binary.LittleEndian.Uint32(raw) != walMagic {
		return fmt.Errorf("not a log of raft-wal: %w", redoubt.ErrCorrupt)
	}
	if raw[7] != 0 {
		return fmt.Errorf("version %d: %w", raw[7], redoubt.ErrVersion)
	}
	want := fmt.Sprintf("%020d-%016x.wal", binary.LittleEndian.Uint64(raw[8:]), binary.LittleEndian.Uint64(raw[16:]))
	if name != want {
		return fmt.Errorf("it holds what belongs into %s: %w", want, redoubt.ErrCorrupt)
	}
	return nil
}

// readBatch reads the frames from first up to their commit, whose sum covers them,
// and the file's header if first is 0. It returns where the next batch begins and
// whether this one ends with an index, as the last one of a sealed file does.
func readBatch(raw []byte, first int) (next int, index, ok bool) {
	at := first
	if first == 0 {
		at = walHeaderSize
	}
	for at+walFrameSize <= len(raw) {
		length := binary.LittleEndian.Uint32(raw[at+4:])
		switch raw[at] {
		case frameCommit:
			whole := redoubt.Checksum(raw[first:at]) == length && raw[at+1]|raw[at+2]|raw[at+3] == 0
			return at + walFrameSize, index, whole
		case frameEntry, frameIndex:
			if int64(length) > int64(len(raw)-at-walFrameSize) {
				return 0, false, false
			}
			index = raw[at] == frameIndex
			at += walFrameSize + (int(length)+7)&^7
		default:
			return 0, false, false
		}
	}
	return 0, false, false
}

// laterBatch looks for a whole batch somewhere after at: then what is at at was
// answered once, and is not the rest of a torn write. It may be the commit in
// front of that batch which is damaged.
func laterBatch(raw []byte, at int) bool {
	for at = (at + 7) &^ 7; at+walFrameSize <= len(raw); at += walFrameSize {
		if raw[at] != frameEntry && raw[at] != frameIndex {
			continue
		}
		if _, _, ok := readBatch(raw, at); ok {
			return true
		}
	}
	return false
}
