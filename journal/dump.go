package journal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// DumpOptions say what Dump prints.
type DumpOptions struct {
	FS      vfs.FS      // default vfs.OS
	JSON    bool        // one JSON object a line
	From    redoubt.LSN // records below are left out
	To      redoubt.LSN // records above are left out; 0: no bound
	Summary bool        // segments only, no records
}

// dumpLine is a line of the JSON form. Type is "journal", "segment" or "record".
type dumpLine struct {
	Type string `json:"type"`

	ID      string                 `json:"id,omitempty"` // journal
	Epoch   redoubt.Epoch          `json:"epoch,omitempty"`
	Base    *redoubt.Position      `json:"base,omitempty"`
	Tail    redoubt.LSN            `json:"tail,omitempty"`
	Applied redoubt.LSN            `json:"applied,omitempty"`
	Durable redoubt.LSN            `json:"durable,omitempty"`
	Cursors map[string]redoubt.LSN `json:"cursors,omitempty"`
	State   []string               `json:"state,omitempty"` // keys
	GivenUp *dumpGap               `json:"given_up,omitempty"`

	File string `json:"file,omitempty"` // segment
	Seq  uint64 `json:"seq,omitempty"`
	Note string `json:"note,omitempty"`

	LSN   redoubt.LSN    `json:"lsn,omitempty"` // record
	Time  string         `json:"time,omitempty"`
	Kind  string         `json:"kind,omitempty"`
	Disk  redoubt.DiskID `json:"disk,omitempty"`
	Off   uint64         `json:"off,omitempty"`
	Len   uint64         `json:"len,omitempty"`
	Data  int            `json:"data,omitempty"` // bytes
	CRC   string         `json:"crc,omitempty"`
	At    int64          `json:"at,omitempty"` // offset of the batch
	Error string         `json:"error,omitempty"`
}

// dumpGap is what the journal gave up.
type dumpGap struct {
	From  redoubt.LSN `json:"from"`
	UpTo  redoubt.LSN `json:"up_to"`
	Since time.Time   `json:"since"`
	File  string      `json:"file"`
	Len   int64       `json:"len"`
}

// Dump prints the journal in dir, one line for each segment and record. It
// changes nothing and may run beside a process that uses the journal. Damage
// is printed where it is found and does not end the dump.
func Dump(dir string, w io.Writer, o DumpOptions) error {
	in, err := newInspector(o.FS, dir)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	d := &dumper{o: o, w: out, json: json.NewEncoder(out)}
	segs, err := in.segments()
	defer func() {
		for _, s := range segs {
			s.file.Close()
		}
	}()
	if err != nil {
		return &redoubt.Error{Op: "dump journal", Object: dir, Err: err}
	}
	if err := d.journal(in); err != nil {
		return err
	}
	for _, s := range segs {
		if err := d.segment(in, s); err != nil {
			return err
		}
	}
	return out.Flush()
}

type dumper struct {
	o    DumpOptions
	w    *bufio.Writer
	json *json.Encoder
}

func (d *dumper) line(l dumpLine, text string, a ...any) error {
	if d.o.JSON {
		return d.json.Encode(l)
	}
	_, err := fmt.Fprintf(d.w, text+"\n", a...)
	return err
}

func (d *dumper) journal(in *inspector) error {
	f := in.facts
	l := dumpLine{Type: "journal", ID: f.ID, Epoch: f.Epoch, Base: &f.Base, Tail: f.Tail, Applied: f.Applied, Durable: f.Watermark, Cursors: map[string]redoubt.LSN{}}
	for n, c := range f.Cursors {
		l.Cursors[n] = c.Acked
	}
	for k := range f.State {
		l.State = append(l.State, k)
	}
	if g := f.Gap; g != nil {
		l.GivenUp = &dumpGap{g.From, g.UpTo, time.Unix(0, g.Since).UTC(), dirtyName(in.dir, g.Number), g.Len}
	}
	if g := l.GivenUp; g != nil && !d.o.JSON {
		if err := d.line(l, "given up: records %d to %d, since %s; dirty map %s, %d bytes", g.From+1, g.UpTo, g.Since.Format(time.RFC3339Nano), g.File, g.Len); err != nil {
			return err
		}
	}
	return d.line(l, "journal %s epoch %d base %s; as last saved: tail %d applied %d durable %d cursors %v", f.ID, f.Epoch, f.Base, f.Tail, f.Applied, f.Watermark, l.Cursors)
}

func (d *dumper) segment(in *inspector, s *seen) error {
	name := s.file.Name()
	if s.skip != "" {
		return d.line(dumpLine{Type: "segment", File: name, Seq: s.seq, Note: s.skip}, "segment %s seq %d: %s", name, s.seq, s.skip)
	}
	note := "open"
	if s.footer != nil {
		note = fmt.Sprintf("full, LSN %d to %d, end %d", s.footer.first, s.footer.last, s.footer.end)
	}
	if err := d.line(dumpLine{Type: "segment", File: name, Seq: s.seq, Note: note}, "segment %s seq %d: %s", name, s.seq, note); err != nil {
		return err
	}
	if d.o.Summary {
		return nil
	}
	err := in.walk(s, func(h *batchHead, payload []byte, bad error) error { return d.batch(h, payload, bad) })
	if err != nil {
		return err
	}
	if s.footer != nil && s.w.end != s.footer.end && s.skip == "" {
		s.skip = fmt.Sprintf("DAMAGED at %d: %v", s.w.end, s.ends)
	}
	if s.skip != "" {
		return d.line(dumpLine{Type: "segment", File: name, Seq: s.seq, Error: s.skip}, "segment %s seq %d: %s", name, s.seq, s.skip)
	}
	return nil
}

func (d *dumper) batch(h *batchHead, payload []byte, bad error) error {
	off := 0
	for i := range h.count {
		var w redoubt.Write
		n := h.write(i, &w)
		data := payload[off : off+n]
		off += n
		if w.LSN < d.o.From || d.o.To > 0 && w.LSN > d.o.To {
			continue
		}
		l := dumpLine{Type: "record", LSN: w.LSN, Epoch: h.epoch, Time: w.When().UTC().Format(time.RFC3339Nano), Kind: w.Kind.String(),
			Disk: w.Disk, Off: w.Extent.Off, Len: w.Extent.Len, Data: n, CRC: fmt.Sprintf("%08x", w.CRC), At: h.off}
		mark := ""
		if bad != nil && (n == 0 || redoubt.Checksum(data) != w.CRC) && n > 0 {
			l.Error = "checksum does not match"
			mark = "  DAMAGED: " + l.Error
		}
		if err := d.line(l, "%10d  %d  %s  %-8s disk %d  %s  data %d crc %s at %d%s", w.LSN, h.epoch, l.Time, l.Kind, w.Disk, w.Extent, n, l.CRC, h.off, mark); err != nil {
			return err
		}
	}
	return nil
}
