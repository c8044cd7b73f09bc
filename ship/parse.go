package ship

import (
	"encoding/binary"
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

func corrupt(format string, a ...any) error {
	return &redoubt.Error{Op: "read delta", Err: fmt.Errorf(format+": %w", append(a, redoubt.ErrCorrupt)...)}
}

// Parse reads a whole encoding and keeps b. It checks the header, the entry
// table and the directory, not the blocks: see VerifyBlocks and VerifyAll.
func Parse(b []byte) (*Delta, error) {
	d, err := parse(b)
	if err != nil {
		return nil, err
	}
	if d.size != len(b) {
		return nil, corrupt("%d bytes, the header says %d", len(b), d.size)
	}
	d.raw = b
	return d, nil
}

// ParseHead reads an encoding of which only the head (HeadLen bytes) need be
// there. The Delta has no blocks: Block fails, InflateBlock works on bytes that
// come from elsewhere. It keeps b.
func ParseHead(b []byte) (*Delta, error) {
	d, err := parse(b)
	if err != nil {
		return nil, err
	}
	d.raw = b[:d.headLen]
	return d, nil
}

func parse(b []byte) (*Delta, error) {
	le := binary.LittleEndian
	if len(b) < headerLen {
		return nil, corrupt("%d bytes are less than a header", len(b))
	}
	if string(b[:8]) != deltaMagic {
		return nil, corrupt("magic %q", b[:8])
	}
	if le.Uint32(b[92:]) != redoubt.Checksum(b[:92]) {
		return nil, corrupt("checksum of the header")
	}
	if v := le.Uint16(b[8:]); v > deltaVersion {
		return nil, &redoubt.Error{Op: "read delta", Err: fmt.Errorf("version %d: %w", v, redoubt.ErrVersion), Hint: "upgrade this program"}
	} else if v != deltaVersion {
		return nil, corrupt("version %d", v)
	}
	d := &Delta{
		Epoch: redoubt.Epoch(le.Uint64(b[32:])), First: redoubt.LSN(le.Uint64(b[40:])), Last: redoubt.LSN(le.Uint64(b[48:])),
		FirstTime: int64(le.Uint64(b[56:])), LastTime: int64(le.Uint64(b[64:])), Baseline: redoubt.LSN(le.Uint64(b[72:])),
		headLen: int(le.Uint32(b[12:])), size: int(le.Uint32(b[16:])),
	}
	entries, blocks, group := int(le.Uint32(b[20:])), int(le.Uint32(b[24:])), int(le.Uint16(b[28:]))
	switch {
	case entries > MaxEntries || blocks > maxBlocks || group > 64:
		return nil, corrupt("%d entries, %d blocks, group of %d bytes are over the limits", entries, blocks, group)
	case d.headLen != headSize(group, entries, blocks):
		return nil, corrupt("head length %d", d.headLen)
	case d.size < d.headLen || d.size > MaxDeltaSize:
		return nil, corrupt("length %d", d.size)
	case len(b) < d.headLen:
		return nil, corrupt("%d bytes of a head of %d", len(b), d.headLen)
	case d.Epoch == 0 || d.First == 0 || d.Last < d.First || d.LastTime < d.FirstTime:
		return nil, corrupt("range %d:%d-%d", d.Epoch, d.First, d.Last)
	}
	end := d.headLen - tailLen
	if le.Uint32(b[end:]) != redoubt.Checksum(b[headerLen:end]) || le.Uint32(b[end+4:]) != 0 {
		return nil, corrupt("checksum of the entry table")
	}
	d.Group = redoubt.GroupID(b[headerLen : headerLen+group])
	if err := redoubt.ValidName("group", string(d.Group)); err != nil {
		return nil, corrupt("group: %v", err)
	}
	at := headerLen + pad8(group)
	if err := d.parseDirectory(b[at+entries*entryLen:end], blocks); err != nil {
		return nil, err
	}
	return d, d.parseEntries(b[at:at+entries*entryLen], entries)
}

func (d *Delta) parseDirectory(b []byte, n int) error {
	le := binary.LittleEndian
	d.blocks = make([]BlockRef, n)
	at := d.headLen
	for i := range d.blocks {
		p := b[i*refLen:]
		r := BlockRef{Off: le.Uint32(p), Len: le.Uint32(p[4:]), RawLen: le.Uint32(p[8:]), CRC: le.Uint32(p[12:]), Codec: Codec(p[16])}
		if int64(r.Off) != int64(at) || r.Len == 0 || r.RawLen == 0 || r.RawLen > MaxBlock || r.Len > r.RawLen {
			return corrupt("block %d: offset %d, length %d, raw %d", i, r.Off, r.Len, r.RawLen)
		}
		if r.Codec == CodecNone && r.Len != r.RawLen {
			return corrupt("block %d: length %d of a raw block of %d", i, r.Len, r.RawLen)
		}
		at += int(r.Len)
		d.blocks[i] = r
	}
	if at != d.size {
		return corrupt("blocks end at %d of %d", at, d.size)
	}
	return nil
}

func (d *Delta) parseEntries(b []byte, n int) error {
	le := binary.LittleEndian
	d.Entries = make([]Entry, n)
	prev := Entry{LSN: d.First, Time: d.FirstTime}
	for i := range d.Entries {
		p := b[i*entryLen:]
		e := Entry{
			LSN: redoubt.LSN(le.Uint64(p)), Time: int64(le.Uint64(p[8:])),
			Extent: redoubt.Extent{Off: le.Uint64(p[16:]), Len: le.Uint64(p[24:])},
			CRC:    le.Uint32(p[32:]), Block: le.Uint32(p[36:]), BlockOff: le.Uint32(p[40:]),
			Disk: redoubt.DiskID(le.Uint16(p[44:])), Kind: redoubt.Kind(p[46]),
		}
		if e.LSN < prev.LSN || e.LSN > d.Last || e.Time < prev.Time || e.Time > d.LastTime {
			return corrupt("entry %d: LSN %d at time %d is out of order", i, e.LSN, e.Time)
		}
		if err := d.checkEntry(i, &e); err != nil {
			return err
		}
		d.Entries[i], prev = e, e
	}
	return nil
}

// checkEntry checks kind, extent and place of the data, and fills DataLen.
func (d *Delta) checkEntry(i int, e *Entry) error {
	if !e.Kind.Valid() {
		return corrupt("entry %d: kind %d", i, e.Kind)
	}
	if e.HasData() {
		if e.Extent.Len > MaxBlock || e.Extent.Len == 0 || uint64(e.Block) >= uint64(len(d.blocks)) ||
			uint64(e.BlockOff)+e.Extent.Len > uint64(d.blocks[e.Block].RawLen) {
			return corrupt("entry %d: %d bytes at %d of block %d", i, e.Extent.Len, e.BlockOff, e.Block)
		}
		e.DataLen = uint32(e.Extent.Len)
	} else if e.CRC != 0 || e.BlockOff != 0 {
		return corrupt("entry %d: checksum without data", i)
	}
	ok := true
	switch e.Kind {
	case redoubt.KindWrite:
		ok = e.HasData()
	case redoubt.KindZero, redoubt.KindTrim:
		ok = !e.HasData()
	case redoubt.KindBaseline, redoubt.KindBookmark:
		ok = e.Extent.Off == 0 && (e.HasData() || e.Extent.Len == 0)
		e.Extent = redoubt.Extent{}
	case redoubt.KindResize, redoubt.KindJoin, redoubt.KindLeave:
		ok = !e.HasData() && validSize(e.Disk, e.Extent)
	}
	if onDisk(e.Kind) {
		ok = ok && e.Disk != 0 && !e.Extent.Empty() && e.Extent.Within(redoubt.MaxDiskSize)
	}
	if !ok {
		return corrupt("entry %d: %s of disk %d at %s", i, e.Kind, e.Disk, e.Extent)
	}
	return nil
}
