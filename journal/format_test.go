package journal

import (
	"bytes"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

func sampleBatch(t testing.TB) ([]byte, []redoubt.Write) {
	rng := newRNG(t, 1)
	ws := make([]redoubt.Write, 7)
	bytes := int64(0)
	for i := range ws {
		ws[i] = randomWrite(rng, 4096)
		ws[i].LSN, ws[i].Time = redoubt.LSN(10+i), int64(1000+i)
		bytes += int64(len(ws[i].Data))
	}
	h := batchHead{seq: 3, off: 8192, incarnation: 2, epoch: 5, first: 10, durable: 9, length: pageSize + padded(bytes), payload: bytes, count: len(ws), part: true}
	p := make([]byte, pageSize)
	h.encode(p, journalID{1, 2, 3}, ws)
	return p, ws
}

func TestBatchRoundTrip(t *testing.T) {
	p, ws := sampleBatch(t)
	h, id, err := decodeBatch(p)
	if err != nil || id != (journalID{1, 2, 3}) || h.seq != 3 || h.off != 8192 || h.incarnation != 2 || h.epoch != 5 || h.first != 10 || h.durable != 9 || h.last() != 16 || h.more || !h.part {
		t.Fatalf("%+v %v", h, err)
	}
	for i := range ws {
		var x redoubt.Write
		n := h.write(i, &x)
		m := ws[i]
		if n != len(m.Data) || x.LSN != m.LSN || x.Time != m.Time || x.CRC != m.CRC || x.Extent != m.Extent || x.Disk != m.Disk || x.Kind != m.Kind {
			t.Fatalf("%d: %+v, want %+v", i, x, m)
		}
	}
	for i := range p { // every byte of the page is covered
		p[i] ^= 1
		if _, _, err := decodeBatch(p); err == nil {
			t.Fatalf("a flipped bit in byte %d is not seen", i)
		}
		p[i] ^= 1
	}
}

// Whatever the bytes: no panic, no bound that the page itself breaks.
func FuzzBatch(f *testing.F) {
	p, _ := sampleBatch(f)
	f.Add(p, true)
	f.Add(make([]byte, pageSize), false)
	f.Fuzz(func(t *testing.T, b []byte, fix bool) {
		b = bytes.Clone(b)
		if fix && len(b) >= pageSize { // else the checksum hides everything behind it
			copy(b, magicBatch)
			le.PutUint32(b[offVersion:], version)
			le.PutUint32(b[offCRC:], pageCRC(b))
		}
		h, _, err := decodeBatch(b)
		if err != nil {
			return
		}
		sum := int64(0)
		last := h.first
		for i := range h.count {
			var w redoubt.Write
			sum += int64(h.write(i, &w))
			if w.LSN < last || w.LSN > last+1 {
				t.Fatalf("LSN %d after %d", w.LSN, last)
			}
			last = w.LSN
		}
		if sum != h.payload || h.payload > maxPayload || h.length > pageSize+maxPayload {
			t.Fatalf("%d bytes of data, payload %d, length %d", sum, h.payload, h.length)
		}
		if _, err := h.records(make([]byte, h.payload), func(*redoubt.Write) (bool, error) { return true, nil }); err == nil && sum > 0 {
			return
		}
	})
}

func FuzzFooter(f *testing.F) {
	p := make([]byte, pageSize)
	e := extent{end: 40960, first: 5, last: 9, batches: 2, records: 5, marks: []mark{{5, 1, 4096}, {7, 2, 8192}}}
	e.encode(p, journalID{9}, 4)
	f.Add(p)
	f.Fuzz(func(t *testing.T, b []byte) {
		b = bytes.Clone(b)
		if len(b) >= pageSize {
			copy(b, magicFooter)
			le.PutUint32(b[offVersion:], version)
			le.PutUint32(b[offCRC:], pageCRC(b))
		}
		if e, _, _, err := decodeFooter(b); err == nil {
			out := make([]byte, pageSize)
			e.encode(out, journalID{}, 0)
			again, _, _, err := decodeFooter(out)
			if err != nil || again.end != e.end || len(again.marks) != len(e.marks) {
				t.Fatalf("%+v does not survive: %+v %v", e, again, err)
			}
		}
	})
}

func FuzzFacts(f *testing.F) {
	b, err := (&facts{Serial: 3, ID: "00", State: map[string][]byte{"k": {1}}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(magicFacts))
	f.Fuzz(func(t *testing.T, b []byte) {
		if g, err := decodeFacts(b); err == nil {
			out, err := g.encode()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := decodeFacts(out); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestFooterRoundTrip(t *testing.T) {
	p := make([]byte, pageSize)
	e := extent{end: 40960, first: 5, last: 9, firstTime: 1, lastTime: 2, incarnation: 3, epoch: 4, batches: 2, records: 5, payload: 77, more: true, part: true, runStart: 8192,
		marks: []mark{{5, 1, 4096}, {7, 2, 8192}}}
	e.encode(p, journalID{9}, 4)
	g, id, seq, err := decodeFooter(p)
	if err != nil || id != (journalID{9}) || seq != 4 {
		t.Fatal(id, seq, err)
	}
	if g.end != e.end || g.last != e.last || g.lastTime != 2 || g.epoch != 4 || g.payload != 77 || !g.more || !g.part || g.runStart != 8192 || len(g.marks) != 2 || g.marks[1] != e.marks[1] {
		t.Fatalf("%+v", g)
	}
}
