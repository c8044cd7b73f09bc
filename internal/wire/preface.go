package wire

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/redoubt-dr/redoubt"
)

// PrefaceLen is the size of the preface in bytes. Each side sends one before
// its first frame.
//
//	 0             6         8          12
//	+-------------+---------+----------+
//	| "RDWIRE"    | version | protocol |
//	+-------------+---------+----------+
const PrefaceLen = 12

const prefaceMagic = "RDWIRE"

// Version is the framing's version.
const Version = 1

// Tag is a protocol's four-letter name in the preface.
type Tag [4]byte

// WritePreface announces the protocol tag.
func WritePreface(w io.Writer, tag Tag) error {
	b := append(make([]byte, 0, PrefaceLen), prefaceMagic...)
	b = binary.LittleEndian.AppendUint16(b, Version)
	b = append(b, tag[:]...)
	_, err := w.Write(b)
	return err
}

// ReadPreface reads the peer's preface. It gives redoubt.ErrVersion if the peer
// is newer and redoubt.ErrCorrupt if it speaks something else.
func ReadPreface(r io.Reader, want Tag) error {
	var b [PrefaceLen]byte
	if _, err := io.ReadFull(r, b[:]); err != nil {
		return err
	}
	fail := func(err error, hint string) error {
		return &redoubt.Error{Op: "read preface", Hint: hint, Err: err}
	}
	if string(b[:6]) != prefaceMagic {
		return fail(fmt.Errorf("peer sent %q: %w", b[:6], redoubt.ErrCorrupt), "the peer does not speak Redoubt's framing; check address and port")
	}
	if v := binary.LittleEndian.Uint16(b[6:]); v > Version {
		return fail(fmt.Errorf("peer speaks version %d, this program %d: %w", v, Version, redoubt.ErrVersion), "upgrade this program")
	} else if v != Version {
		return fail(fmt.Errorf("version %d: %w", v, redoubt.ErrCorrupt), "")
	}
	if Tag(b[8:12]) != want {
		return fail(fmt.Errorf("peer speaks %q, not %q: %w", b[8:12], want[:], redoubt.ErrCorrupt), "check address and port")
	}
	return nil
}
