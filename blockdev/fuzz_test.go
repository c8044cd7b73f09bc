package blockdev

import (
	"encoding/binary"
	"log/slog"
	"testing"
)

func FuzzOptions(f *testing.F) {
	f.Add(uint32(7), []byte("\x00\x00\x00\x01a\x00\x01\x00\x03"))
	f.Add(uint32(10), []byte("\x00\x00\x00\x01a\x00\x00\x00\x01\x00\x00\x00\x0fbase:allocation"))
	f.Add(uint32(7), []byte("\xff\xff\xff\xffa\x00\x00"))
	f.Add(uint32(10), []byte("\x00\x00\x00\x00\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, id uint32, data []byte) {
		if o, err := parseInfo(data); err == nil {
			b := binary.BigEndian.AppendUint32(nil, uint32(len(o.name)))
			b = binary.BigEndian.AppendUint16(append(b, o.name...), uint16(len(o.wants)))
			for _, w := range o.wants {
				b = binary.BigEndian.AppendUint16(b, w)
			}
			if string(b) != string(data) {
				t.Fatalf("%x was read as %+v", data, o)
			}
		}
		if o, err := parseMeta(data); err == nil && (len(o.queries) > maxQueries || len(o.name) > maxString) {
			t.Fatalf("limits passed: %d queries, name of %d", len(o.queries), len(o.name))
		}
		c := &conn{srv: NewServer(ServerOptions{}), log: slog.New(slog.DiscardHandler), structured: true}
		if out, next, _ := c.option(id, data, false); next == begin || len(out) > 0 && binary.BigEndian.Uint64(out) != 0x3e889045565a9 {
			t.Fatalf("option %d: transmission without an export, or a bad reply %x", id, out)
		}
		c.sec = &Security{}
		if out, next, _ := c.option(id, data, false); next == begin || len(out) == 20 && out[19] == 1 && next == more {
			t.Fatalf("option %d got %x before TLS", id, out)
		}
	})
}

func FuzzRequest(f *testing.F) {
	f.Add(make([]byte, requestLen))
	f.Add([]byte("\x25\x60\x95\x13\x00\x01\x00\x0112345678\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x10\x00"))
	v := &Volume{disk: &disk{}}
	v.disk.size.Store(1 << 20)
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < requestLen {
			return
		}
		req, ok := parseRequest(b)
		if ok != (binary.BigEndian.Uint32(b) == 0x25609513) {
			t.Fatal("magic misjudged")
		}
		c := &conn{vol: v}
		if c.judge(req) == 0 && req.typ != cmdFlush && (req.off > 1<<20 || req.off+uint64(req.len) > 1<<20) {
			t.Fatalf("%+v passed on a disk of 1 MiB", req)
		}
	})
}
