package journal

import (
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

// blockWrite is a write of whole blocks.
func blockWrite(d redoubt.DiskID, first, n uint64) redoubt.Write {
	data := make([]byte, n*DirtyBlock)
	for i := 0; i < len(data); i += 512 {
		le.PutUint64(data[i:], first+uint64(i)+1)
	}
	return redoubt.Write{Disk: d, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: first * DirtyBlock, Len: uint64(len(data))}, Data: data, CRC: redoubt.Checksum(data)}
}

type blockOf struct {
	disk  redoubt.DiskID
	block uint64
}

func blocksOf(w *redoubt.Write) (out []blockOf) {
	from, to := blocks(w.Extent)
	for b := from; b < to && w.Disk != 0; b++ {
		out = append(out, blockOf{w.Disk, b})
	}
	return out
}

// dirtyNow lists the dirty map as a consumer's helper would walk it.
func dirtyNow(j *Journal) map[blockOf]bool {
	out := map[blockOf]bool{}
	for d := redoubt.DiskID(1); d <= 2; d++ {
		for e, ok := j.NextDirty(d, 0, 64<<10); ok; e, ok = j.NextDirty(d, e.End(), 64<<10) {
			if e.Len > 64<<10 || e.Off/(64<<10) != (e.End()-1)/(64<<10) {
				panic(fmt.Sprint("run over the limit: ", e))
			}
			for b := e.Off / DirtyBlock; b < e.End()/DirtyBlock; b++ {
				out[blockOf{d, b}] = true
			}
		}
	}
	return out
}

func TestGiveUpMakesRoom(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.o.MaxBytes = 4 * MinSegmentSize
	w.mustOpen()
	cur, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.j.Cursor("other", 0)
	if err != nil {
		t.Fatal(err)
	}
	fill := func() redoubt.LSN {
		for b := uint64(0); ; b++ {
			err := w.j.Append([]redoubt.Write{blockWrite(1, b%100, 1)})
			if errors.Is(err, redoubt.ErrJournalFull) {
				return w.j.Head().LSN
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	head := fill()
	if err := w.j.SetApplied(head); err != nil {
		t.Fatal(err)
	}
	if fill() != head {
		t.Fatal("a full journal took records that nobody has acknowledged")
	}
	if err := cur.GiveUp(head - 10); err != nil {
		t.Fatal(err)
	}
	if more := fill(); more < head+200 {
		t.Fatalf("giving up %d records made room for %d", head-10, more-head)
	}
	if cur.Acked() != 0 || other.Acked() != 0 {
		t.Error("giving up is not an acknowledgement")
	}
	gap, ok := w.j.Gap()
	if !ok || gap.From != 0 || gap.UpTo != head-10 || gap.Dirty != 100*DirtyBlock || gap.Since == 0 || gap.Until < gap.Since {
		t.Fatalf("%+v %v", gap, ok)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustOpen()
	again, ok := w.j.Gap()
	if cur, err = w.j.Cursor("ship", 0); err != nil || !ok || again != gap || cur.Acked() != 0 {
		t.Fatalf("reopened: %+v %v, acked %d, %v", again, ok, cur.Acked(), err)
	}
	if closed, err := w.j.CloseGap(gap.Serial + 1); closed || err != nil {
		t.Fatal("closed a gap of another serial", err)
	}
	if err := cur.Ack(w.j.Head().LSN); err != nil {
		t.Fatal(err)
	}
	if closed, err := w.j.CloseGap(gap.Serial); !closed || err != nil {
		t.Fatal(closed, err)
	}
	if _, ok := w.j.Gap(); ok || len(dirtyNow(w.j)) != 0 {
		t.Error("the gap is still there")
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustOpen()
	if _, ok := w.j.Gap(); ok {
		t.Error("the gap came back")
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
}

// debtor is a model of what a consumer lacks.
type debtor struct {
	records map[redoubt.LSN]redoubt.Write // everything appended, without data
	acked   redoubt.LSN                   // the consumer has it, or what stands for it
}

// missing returns a block that was given up, that no copy record which is still
// to come announces, and that the map does not know.
func (m *debtor) missing(j *Journal) (blockOf, bool) {
	gap, ok := j.Gap()
	if !ok {
		return blockOf{}, false
	}
	dirty := dirtyNow(j)
	head := j.Head().LSN
	copied := map[blockOf]redoubt.LSN{} // last copy record that counts
	for l := redoubt.LSN(1); l <= head; l++ {
		if w := m.records[l]; w.Kind == redoubt.KindCopy && (l <= m.acked || l > gap.UpTo) {
			for _, b := range blocksOf(&w) {
				copied[b] = l
			}
		}
	}
	for l := m.acked + 1; l <= min(gap.UpTo, head); l++ {
		w := m.records[l]
		for _, b := range blocksOf(&w) {
			if copied[b] <= l && !dirty[b] {
				return b, true
			}
		}
	}
	return blockOf{}, false
}

// Power cuts and kills at any moment of giving up, announcing and closing: the
// map holds at least what the consumer lacks.
func TestGapCrash(t *testing.T) {
	seeds := *crashSeeds
	if testing.Short() { // under the race detector each takes a second
		seeds = max(1, seeds/6)
	}
	for seed := *crashFirst; seed < *crashFirst+seeds && !t.Failed(); seed++ {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { gapLife(t, seed) })
	}
}

func gapLife(t *testing.T, seed uint64) {
	mem := vfs.NewMem()
	w := newWorld(t, seed, mem)
	w.o.MaxBytes, w.o.slack = 4*MinSegmentSize, 256
	w.mustOpen()
	m := &debtor{records: map[redoubt.LSN]redoubt.Write{}}
	for life := range 8 {
		cur, err := w.j.Cursor("ship", 0)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 + w.rng.IntN(60) {
			if err := gapStep(w, cur, m); err != nil {
				t.Fatalf("seed %d, life %d: %v", seed, life, err)
			}
			if b, bad := m.missing(w.j); bad {
				t.Fatalf("seed %d, life %d: block %v is lost", seed, life, b)
			}
		}
		old := w.j
		switch w.rng.IntN(5) {
		case 0:
			mem = mem.Kill()
		case 1:
			if err := w.j.Close(); err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			mem = mem.Crash(w.rng)
		default:
			mem = mem.Crash(w.rng)
		}
		_ = old.Close()
		w.idx, w.fs = w.idx.afterCrash(w.rng), mem
		if err := w.open(); err != nil {
			t.Fatalf("seed %d, life %d: %v", seed, life, err)
		}
		head := w.j.Head().LSN
		maps.DeleteFunc(m.records, func(l redoubt.LSN, _ redoubt.Write) bool { return l > head })
		if gap, ok := w.j.Gap(); ok && gap.Lost != nil {
			t.Fatalf("seed %d: %v", seed, gap.Lost)
		}
		if b, bad := m.missing(w.j); bad {
			t.Fatalf("seed %d, after life %d: block %v is lost", seed, life, b)
		}
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	if r, err := VerifyFS(mem, testDir); err != nil {
		t.Fatalf("seed %d: %v %+v", seed, err, r)
	}
}

// gapStep does one thing that a source may do.
func gapStep(w *world, cur *Cursor, m *debtor) error {
	appendAll := func(ws []redoubt.Write) error {
		err := w.j.Append(ws)
		for i := range ws {
			if err == nil {
				ws[i].Data = nil
				m.records[ws[i].LSN] = ws[i]
			}
		}
		return err
	}
	switch w.rng.IntN(9) {
	case 0:
		return w.j.SetApplied(w.j.Head().LSN)
	case 1:
		return cur.GiveUp(redoubt.LSN(w.rng.Uint64N(uint64(w.j.Head().LSN + 1))))
	case 2, 3: // announce a few
		d := redoubt.DiskID(1 + w.rng.IntN(2))
		e, ok := w.j.NextDirty(d, w.rng.Uint64N(200)*DirtyBlock, 64<<10)
		if !ok {
			return nil
		}
		w.j.Announced(d, e)
		if w.rng.IntN(4) == 0 {
			w.j.Unannounced(d, e)
			return nil
		}
		err := appendAll([]redoubt.Write{{Disk: d, Kind: redoubt.KindCopy, Extent: e}})
		if errors.Is(err, redoubt.ErrJournalFull) {
			w.j.Unannounced(d, e)
			return nil
		}
		return err
	case 4:
		return w.j.SaveGap()
	case 5: // the consumer gets on: never into what was given up, but over it
		to := m.acked + redoubt.LSN(w.rng.Uint64N(uint64(w.j.Head().LSN-min(w.j.Head().LSN, m.acked)+1)))
		if gap, ok := w.j.Gap(); ok && to <= gap.UpTo {
			return nil
		}
		if _, ok := w.j.Gap(); ok && len(dirtyNow(w.j)) > 0 {
			return nil // the model has no word for "acknowledged, but lacking"
		}
		if err := cur.Ack(to); err != nil {
			return err
		}
		m.acked = max(m.acked, to)
		if gap, ok := w.j.Gap(); ok && w.rng.IntN(2) == 0 {
			lacking := false
			for l, r := range m.records {
				lacking = lacking || l > m.acked && l > gap.UpTo && r.Kind == redoubt.KindCopy
			}
			if !lacking {
				_, err := w.j.CloseGap(gap.Serial)
				return err
			}
		}
		return nil
	case 6:
		w.j.checkpoint()
		return nil
	}
	var ws []redoubt.Write
	for range 1 + w.rng.IntN(20) {
		ws = append(ws, blockWrite(redoubt.DiskID(1+w.rng.IntN(2)), w.rng.Uint64N(200), 1+w.rng.Uint64N(8)))
	}
	if err := appendAll(ws); !errors.Is(err, redoubt.ErrJournalFull) {
		return err
	}
	return nil
}

// A damaged map is not trusted: everything is dirty then.
func TestDamagedDirtyMap(t *testing.T) {
	for name, damage := range map[string]func(mem *vfs.Mem) error{
		"flipped": func(mem *vfs.Mem) error {
			f, err := mem.OpenFile(dirtyName(testDir, 0), 2, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.WriteAt([]byte{0xff}, dirtyHeader+changeHead+3)
			return err
		},
		"gone": func(mem *vfs.Mem) error { return mem.Remove(dirtyName(testDir, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			mem := vfs.NewMem()
			w := newWorld(t, 1, mem)
			w.mustOpen()
			cur, err := w.j.Cursor("ship", 0)
			if err != nil {
				t.Fatal(err)
			}
			if err := w.j.Append([]redoubt.Write{blockWrite(1, 3, 2), blockWrite(2, 7, 1)}); err != nil {
				t.Fatal(err)
			}
			if err := cur.GiveUp(2); err != nil {
				t.Fatal(err)
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			if err := damage(mem); err != nil {
				t.Fatal(err)
			}
			if _, err := VerifyFS(mem, testDir); !errors.Is(err, redoubt.ErrCorrupt) {
				t.Fatalf("verify: %v", err)
			}
			w.mustOpen()
			gap, ok := w.j.Gap()
			if !ok || !errors.Is(gap.Lost, redoubt.ErrCorrupt) || gap.Ends(3) {
				t.Fatalf("%+v %v", gap, ok)
			}
			if err := w.j.DirtyAll([]redoubt.Disk{{ID: 1, Size: 40 << 10}, {ID: 2, Size: 41 << 10}}); err != nil {
				t.Fatal(err)
			}
			if n := len(dirtyNow(w.j)); n != 10+11 {
				t.Fatalf("%d blocks are dirty", n)
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
			w.mustOpen()
			if gap, ok := w.j.Gap(); !ok || gap.Lost != nil || gap.Dirty != 21*DirtyBlock {
				t.Fatalf("%+v %v", gap, ok)
			}
			if err := w.j.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func FuzzDirtyMap(f *testing.F) {
	var id journalID
	m := blockMap{}
	m.add(1, redoubt.Extent{Off: 4096, Len: 1 << 20})
	m.add(9, redoubt.Extent{Off: 1 << 40, Len: 512})
	b := encodeDirtyHead(id, 3)
	body, err := encodeChanges(dirtyHeader, changeAdd, m)
	if err != nil {
		f.Fatal(err)
	}
	b = append(b, body...)
	gone, err := encodeChanges(int64(len(b)), changeRemove, blockMap{1: m[1]})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(b, gone...))
	f.Fuzz(func(t *testing.T, b []byte) {
		for at := dirtyHeader; at+changeHead <= len(b); { // right checksums let the fuzzer in
			n := changeHead + int(min(le.Uint32(b[at:]), uint32(len(b))))
			if at+n > len(b) {
				break
			}
			le.PutUint32(b[at+4:], changeSum(b[at:at+n], int64(at)))
			at += n
		}
		if len(b) >= dirtyHeader {
			le.PutUint32(b[32:], redoubt.Checksum(b[:32]))
		}
		m, err := decodeDirty(b, id, 3)
		if err != nil {
			return
		}
		again, err := encodeChanges(dirtyHeader, changeAdd, m)
		if err != nil {
			t.Fatal(err)
		}
		n, err := decodeDirty(append(encodeDirtyHead(id, 3), again...), id, 3)
		if err != nil || n.count() != m.count() {
			t.Fatalf("%d blocks, again %d: %v", m.count(), n.count(), err)
		}
	})
}

// Who is gone is owed nothing.
func TestRemovedCursorEndsItsGap(t *testing.T) {
	w := newWorld(t, 1, vfs.NewMem())
	w.mustOpen()
	cur, err := w.j.Cursor("ship", 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.j.Cursor("other", 0); err != nil {
		t.Fatal(err)
	}
	if err := w.j.Append([]redoubt.Write{blockWrite(1, 3, 2)}); err != nil {
		t.Fatal(err)
	}
	if err := cur.GiveUp(1); err != nil {
		t.Fatal(err)
	}
	if err := w.j.RemoveCursor("other"); err != nil || w.j.GivenUp() != 1 {
		t.Fatal(w.j.GivenUp(), err)
	}
	if err := w.j.RemoveCursor("ship"); err != nil || w.j.GivenUp() != 0 {
		t.Fatal(w.j.GivenUp(), err)
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
	w.mustOpen()
	if w.j.GivenUp() != 0 {
		t.Error("the gap came back")
	}
	if err := w.j.Close(); err != nil {
		t.Fatal(err)
	}
}
