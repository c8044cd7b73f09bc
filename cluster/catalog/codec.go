package catalog

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// encoder appends the primitives of the command and snapshot formats:
// unsigned varints, fixed 64-bit times, and strings with their length in front.
type encoder struct{ b []byte }

func (e *encoder) u8(v uint8)        { e.b = append(e.b, v) }
func (e *encoder) u32(v uint32)      { e.b = binary.BigEndian.AppendUint32(e.b, v) }
func (e *encoder) u64(v uint64)      { e.b = binary.BigEndian.AppendUint64(e.b, v) }
func (e *encoder) i64(v int64)       { e.u64(uint64(v)) }
func (e *encoder) uvar(v uint64)     { e.b = binary.AppendUvarint(e.b, v) }
func (e *encoder) bytes(v []byte)    { e.uvar(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) str(v string)      { e.uvar(uint64(len(v))); e.b = append(e.b, v...) }
func (e *encoder) lsn(v redoubt.LSN) { e.uvar(uint64(v)) }
func (e *encoder) pos(p redoubt.Position) {
	e.uvar(uint64(p.Epoch))
	e.uvar(uint64(p.LSN))
}

func (e *encoder) bool(v bool) {
	if v {
		e.u8(1)
	} else {
		e.u8(0)
	}
}

// decoder reads what encoder writes. The first fault latches; every later read
// returns zero, so callers check err once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) bad(what string) {
	if d.err == nil {
		d.err = fmt.Errorf("%s: %w", what, redoubt.ErrCorrupt)
	}
	d.b = nil
}

func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.bad("cut short")
		return nil
	}
	p := d.b[:n]
	d.b = d.b[n:]
	return p
}

func (d *decoder) u8() uint8 {
	if p := d.take(1); p != nil {
		return p[0]
	}
	return 0
}

func (d *decoder) u32() uint32 {
	if p := d.take(4); p != nil {
		return binary.BigEndian.Uint32(p)
	}
	return 0
}

func (d *decoder) u64() uint64 {
	if p := d.take(8); p != nil {
		return binary.BigEndian.Uint64(p)
	}
	return 0
}

func (d *decoder) i64() int64 { return int64(d.u64()) }

// uvar accepts the shortest form only, so that one value has one encoding.
func (d *decoder) uvar() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 || n > 1 && d.b[n-1] == 0 {
		d.bad("bad number")
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) uvarMax(limit uint64, what string) uint64 {
	v := d.uvar()
	if v > limit {
		d.bad(what + " out of range")
		return 0
	}
	return v
}

// count reads the length of a list whose elements take at least one byte each:
// so a count beyond the remaining bytes is refused before anything is made.
func (d *decoder) count(limit int, what string) int {
	v := d.uvarMax(uint64(limit), what)
	if v > uint64(len(d.b)) {
		d.bad(what + " out of range")
		return 0
	}
	return int(v)
}

func (d *decoder) bytes(limit int, what string) []byte {
	p := d.take(d.count(limit, what))
	if len(p) == 0 {
		return nil
	}
	return append([]byte(nil), p...)
}

func (d *decoder) str(limit int, what string) string { return string(d.take(d.count(limit, what))) }
func (d *decoder) lsn() redoubt.LSN                  { return redoubt.LSN(d.uvar()) }
func (d *decoder) pos() redoubt.Position {
	return redoubt.Position{Epoch: redoubt.Epoch(d.uvar()), LSN: d.lsn()}
}

func (d *decoder) bool() bool {
	v := d.u8()
	if v > 1 {
		d.bad("bad flag")
	}
	return v == 1
}

// done returns the first fault, or ErrCorrupt if bytes are left over.
func (d *decoder) done() error {
	if d.err == nil && len(d.b) != 0 {
		d.bad("bytes left over")
	}
	return d.err
}
