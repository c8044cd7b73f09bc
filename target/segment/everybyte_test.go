package segment

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/internal/vfs"
)

const someCRC = 0x5eed

// smallLog writes a log of a few shards and a tombstone; unsealed leaves the
// file as a crash would.
func smallLog(t *testing.T, rng *rand.Rand, sealed bool) (*vfs.Mem, []*Shard) {
	t.Helper()
	fs := newFS(t)
	l, err := Open(dir, Options{FS: fs, FileSize: 4 << 10})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Shard
	for i := range uint64(4) {
		s := &Shard{ID: ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: i, Shard: uint8(i % 3), CRC: someCRC}, K: 2, M: 1, Head: random(rng, 20+int(i)), Data: random(rng, 60+40*int(i))}
		s.Size = uint32(2 * len(s.Data))
		put(t, l, s)
		all = append(all, s)
	}
	if err := l.Delete(t.Context(), all[3].ID); err != nil {
		t.Fatal(err)
	}
	if !sealed {
		crashed := fs.Clone(rng) // all of it was acknowledged, so all of it is there
		l.Close()
		return crashed, all[:3]
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return fs, all[:3]
}

func sizeOf(t *testing.T, fs *vfs.Mem) int64 {
	t.Helper()
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	n, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func flipAt(t *testing.T, fs *vfs.Mem, at int64, bit int) {
	t.Helper()
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, at); err != nil {
		t.Fatal(err)
	}
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b, at); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// TestEveryFlippedByte flips every byte of a small log in turn. Opened and read
// after it, each shard is right, or it is missing or corrupt: never wrong; the
// deleted one does not come back unless it is said to be damage. Read by Verify, the flip is
// either reported, or all shards are there and right: then the byte is one of the
// zeros between records or of what only tells how far a crash got.
func TestEveryFlippedByte(t *testing.T) {
	rng := seeded.Rand(t)
	for _, sealed := range []bool{true, false} {
		base, all := smallLog(t, rng, sealed)
		deleted := ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: 3, Shard: 0, CRC: someCRC}
		l := open(t, base.Clone(rng))
		if has(t, l, deleted) {
			t.Fatalf("sealed %v: a deleted shard is back", sealed)
		}
		l.Close()
		size := sizeOf(t, base)
		lost, silent := 0, 0
		for at := range size {
			fs := base.Clone(rng)
			flipAt(t, fs, at, rng.IntN(8))
			rep, verr := Verify(fs, dir)
			if verr != nil && !errors.Is(verr, redoubt.ErrCorrupt) {
				t.Fatalf("byte %d: verify: %v", at, verr)
			}
			l, err := Open(dir, Options{FS: fs, FileSize: 4 << 10})
			if err != nil {
				t.Fatalf("byte %d: open: %v", at, err)
			}
			good := 0
			for _, s := range all {
				if readsRight(t, l, s, at) {
					good++
				}
			}
			found := verr != nil || len(rep.Damage) > 0
			switch {
			case good < len(all):
				lost++
				// Above the last durable mark of an unsealed file damage looks like the end of a crash:
				// the record is missing then, and the catalog tells.
				if !found && (sealed || rep.Shards == len(all)) {
					t.Errorf("sealed %v, byte %d: %d shards of %d are right and verify finds nothing", sealed, at, good, len(all))
				}
			case !found:
				silent++
			}
			// The deleted one stays deleted, or its tombstone is what is damaged.
			if has(t, l, deleted) && !found && sealed {
				t.Errorf("byte %d: a deleted shard is back and verify finds nothing", at)
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if lost == 0 || silent == 0 || int64(lost) == size {
			t.Errorf("sealed %v: of %d bytes %d cost a shard, %d are harmless: the judge sees nothing", sealed, size, lost, silent)
		}
		t.Logf("sealed %v: %d bytes, %d flips cost a shard, %d are harmless", sealed, size, lost, silent)
	}
}

// readsRight reads the shard in all ways. It fails the test if one gives wrong bytes.
func readsRight(t *testing.T, l *Log, s *Shard, at int64) bool {
	t.Helper()
	bad := func(err error) bool {
		if err != nil && !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrNotFound) {
			t.Fatalf("byte %d: %v", at, err)
		}
		return err != nil
	}
	serr := l.Scrub(s.ID)
	bad(serr)
	h, herr := l.ReadHead(s.ID)
	d, derr := l.ReadRange(s.ID, 0, uint32(len(s.Data)))
	if !bad(herr) && !bytes.Equal(h, s.Head) || !bad(derr) && !bytes.Equal(d, s.Data) {
		t.Fatalf("byte %d: %v reads wrong", at, s.ID)
	}
	if right := herr == nil && derr == nil; right != (serr == nil) {
		t.Fatalf("byte %d: %v: head %v, data %v, scrub %v", at, s.ID, herr, derr, serr)
	}
	return serr == nil
}

// A record whose bytes are those of another shard of the same length, with that
// one's chunk checksums and a header checksum that holds, is found: the chunks
// are bound to their shard.
func TestSwappedShards(t *testing.T) {
	rng := seeded.Rand(t)
	fs := newFS(t)
	l, err := Open(dir, Options{FS: fs})
	if err != nil {
		t.Fatal(err)
	}
	var all []*Shard
	for i := range uint64(2) {
		s := &Shard{ID: ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: i, CRC: rng.Uint32()}, K: 2, M: 1, Size: 400, Head: random(rng, 30), Data: random(rng, 200)}
		put(t, l, s)
		all = append(all, s)
	}
	var at [2]Info
	for i, s := range all {
		if at[i], err = l.Info(s.ID); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := fs.OpenFile(logFiles.Name(dir, 1), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	var hs [2]*header
	var bodies [2][]byte
	for i := range hs {
		if hs[i], err = readHeader(f, 1, at[i].Offset, sizeOf(t, fs)); err != nil {
			t.Fatal(err)
		}
		bodies[i] = make([]byte, 230)
		if err := readFull(f, bodies[i], at[i].Offset+int64(hs[i].Len)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range hs {
		h := *hs[i]
		h.Chunks, h.HeadCRC = hs[1-i].Chunks, hs[1-i].HeadCRC
		if _, err := f.WritevAt([][]byte{h.encode(), bodies[1-i]}, at[i].Offset); err != nil {
			t.Fatal(err)
		}
	}
	f.Close()
	if rep, err := Verify(fs, dir); err != nil || len(rep.Damage) != 2 {
		t.Errorf("verify: %v, %+v", err, rep)
	}
	l = open(t, fs)
	for _, s := range all {
		if readsRight(t, l, s, -1) {
			t.Errorf("%v is the other one and is served", s.ID)
		}
	}
}

// The file header, footer and trailer of a sealed file are written anew when
// they do not hold, and then nothing is missing.
func TestScrubFileMends(t *testing.T) {
	rng := seeded.Rand(t)
	base, all := smallLog(t, rng, true)
	size := sizeOf(t, base)
	for _, at := range []int64{0, 17, 300, size - 100, size - trailerLen - 2, size - trailerLen, size - 1} {
		fs := base.Clone(rng)
		l, err := Open(dir, Options{FS: fs, FileSize: 4 << 10})
		if err != nil {
			t.Fatal(err)
		}
		extra := &Shard{ID: ID{Group: "g", UUID: "u", Epoch: 1, Ordinal: 9, CRC: 1}, K: 1, Head: random(rng, 5), Data: random(rng, 9)}
		put(t, l, extra) // in the next file: this one is not the newest any more
		if why, err := l.ScrubFile(1); why != nil || err != nil {
			t.Fatalf("before the flip: %v, %v", why, err)
		}
		flipAt(t, fs, at, rng.IntN(8))
		if why, err := l.ScrubFile(1); why == nil || err != nil {
			t.Errorf("byte %d: %v, %v", at, why, err)
		}
		if why, err := l.ScrubFile(1); why != nil || err != nil {
			t.Errorf("byte %d, mended: %v, %v", at, why, err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if rep, err := Verify(fs, dir); err != nil || len(rep.Damage) > 0 || rep.Deleted != 1 {
			t.Errorf("byte %d, mended: %v, %+v", at, err, rep)
		}
		l = open(t, fs)
		for _, s := range append(all, extra) {
			if !readsRight(t, l, s, at) {
				t.Errorf("byte %d, mended: %v is lost", at, s.ID)
			}
		}
		l.Close()
	}
}
