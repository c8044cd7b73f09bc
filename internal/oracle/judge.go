package oracle

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/redoubt-dr/redoubt"
)

// Judge compares the image file got with a disk of the state, whole. The error
// names the first byte that differs and the model's last changes there.
func (s *State) Judge(d redoubt.DiskID, got string) error {
	g, err := os.Open(got)
	if err != nil {
		return err
	}
	defer g.Close()
	f := s.files[d]
	if f == nil {
		return fmt.Errorf("no disk %d, or Seek was not called", d)
	}
	at, err := firstDifference(io.NewSectionReader(f, 0, 1<<62), g)
	if err != nil || at < 0 {
		return err
	}
	return fmt.Errorf("disk %d at %s differs from the model first at byte %d; the model's changes there:%s",
		d, s.pos, at, s.m.history(s.pos, d, uint64(at)))
}

// firstDifference returns the offset of the first byte that differs, or -1.
func firstDifference(a, b io.Reader) (int64, error) {
	pa, pb := make([]byte, 1<<20), make([]byte, 1<<20)
	for off := int64(0); ; {
		na, ea := io.ReadFull(a, pa)
		nb, eb := io.ReadFull(b, pb)
		if ea != nil && ea != io.EOF && ea != io.ErrUnexpectedEOF {
			return 0, ea
		}
		if eb != nil && eb != io.EOF && eb != io.ErrUnexpectedEOF {
			return 0, eb
		}
		if !bytes.Equal(pa[:na], pb[:nb]) {
			for i := range min(na, nb) {
				if pa[i] != pb[i] {
					return off + int64(i), nil
				}
			}
			return off + int64(min(na, nb)), nil
		}
		if ea != nil {
			return -1, nil
		}
		off += int64(na)
	}
}

// history lists the last changes before or after p that touch a byte.
func (m *Model) history(p redoubt.Position, d redoubt.DiskID, at uint64) string {
	var lines []string
	for _, c := range m.Changes(p.Epoch, 0, ^redoubt.LSN(0)) {
		if c.Disk == d && c.Extent.Off <= at && at < c.Extent.End() {
			lines = append(lines, fmt.Sprintf("\n  %s %s %s", c.Position, c.Kind, c.Extent))
		}
	}
	if len(lines) > 8 {
		lines = lines[len(lines)-8:]
	}
	if lines == nil {
		return " none"
	}
	return strings.Join(lines, "")
}
