package ship

import (
	"fmt"
	"io"
	"time"
)

// Dump prints a delta's header, entries and blocks, one line each. It does not
// inflate; see VerifyAll.
func (d *Delta) Dump(w io.Writer) error {
	_, err := fmt.Fprintf(w, "delta group=%s epoch=%d lsn=%d-%d time=%s..%s entries=%d blocks=%d head=%d size=%d raw=%d baseline=%d\n",
		d.Group, d.Epoch, d.First, d.Last, stamp(d.FirstTime), stamp(d.LastTime), len(d.Entries), len(d.blocks), d.headLen, d.size, d.RawLen(), d.Baseline)
	for i := range d.Entries {
		if err != nil {
			return err
		}
		e := &d.Entries[i]
		where := "-"
		if e.HasData() {
			where = fmt.Sprintf("%d+%d", e.Block, e.BlockOff)
		}
		_, err = fmt.Fprintf(w, "entry lsn=%d time=%s %s disk=%d extent=%s data=%d at=%s crc=%08x\n",
			e.LSN, stamp(e.Time), e.Kind, e.Disk, e.Extent, e.DataLen, where, e.CRC)
	}
	for i, r := range d.blocks {
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(w, "block %d off=%d len=%d raw=%d codec=%s crc=%08x\n", i, r.Off, r.Len, r.RawLen, r.Codec, r.CRC)
	}
	return err
}

func stamp(ns int64) string { return time.Unix(0, ns).UTC().Format("2006-01-02T15:04:05.000000000Z") }
