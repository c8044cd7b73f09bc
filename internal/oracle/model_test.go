package oracle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
)

// byteModel is a model of one disk of 8 sectors, and put, which records a
// write of byte v to sector i.
func byteModel(t *testing.T) (*Model, func(e redoubt.Epoch, i int, v byte, sent, acked int64)) {
	t.Helper()
	dir := t.TempDir()
	base := filepath.Join(dir, "base")
	if err := os.WriteFile(base, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := New(filepath.Join(dir, "m"), []Disk{{redoubt.Disk{ID: 1, Name: "a", Size: 4096}, base}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m, func(e redoubt.Epoch, i int, v byte, sent, acked int64) {
		t.Helper()
		c := Change{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: uint64(i) * 512, Len: 512}, Sent: sent, Acked: acked}
		if err := m.Record(e, c, bytes.Repeat([]byte{v}, 512)); err != nil {
			t.Fatal(err)
		}
	}
}

// sectors returns the first byte of each sector at p.
func sectors(t *testing.T, st *State, p redoubt.Position) string {
	t.Helper()
	if err := st.Seek(p); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(st.Path(1))
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for i := 0; i < len(b); i += 512 {
		out = append(out, max(b[i], '.'))
	}
	return string(out)
}

func pos(e redoubt.Epoch, l redoubt.LSN) redoubt.Position { return redoubt.Position{Epoch: e, LSN: l} }

func TestStateFollowsForks(t *testing.T) {
	m, put := byteModel(t)
	put(1, 0, 'x', 1, 2) // during the copy: no LSN known
	m.Anchor(1, 10)
	put(1, 1, 'a', 3, 4) // 11
	put(1, 2, 'b', 5, 6) // 12
	if err := m.Fork(2, pos(1, 11)); err != nil {
		t.Fatal(err)
	}
	put(2, 3, 'c', 7, 8) // 2:12
	if drift, _ := m.Anchor(2, 15); drift != 3 {
		t.Fatalf("drift %d, want 3", drift)
	}
	put(2, 4, 'd', 9, 10) // 2:16
	if err := m.Fork(3, pos(2, 16)); err != nil {
		t.Fatal(err)
	}
	put(3, 5, 'e', 11, 12) // 3:17
	st, err := m.State()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		p    redoubt.Position
		want string
	}{
		{pos(1, 10), "x......."}, {pos(1, 11), "xa......"}, {pos(1, 12), "xab....."},
		{pos(2, 11), "xa......"}, {pos(2, 12), "xa.c...."}, {pos(2, 15), "xa.c...."}, {pos(2, 16), "xa.cd..."},
		{pos(3, 17), "xa.cde.."}, {pos(1, 11), "xa......"}, {pos(3, 16), "xa.cd..."},
	} {
		if got := sectors(t, st, c.p); got != c.want {
			t.Errorf("at %s: %s, want %s", c.p, got, c.want)
		}
	}
	if err := st.Seek(pos(1, 9)); err == nil {
		t.Error("a position before the first anchor was judged")
	}
}

func TestCheckTime(t *testing.T) {
	m, put := byteModel(t)
	m.Anchor(1, 0)
	put(1, 0, 'a', 100, 110)
	put(1, 1, 'b', 120, 130)
	put(1, 2, 'c', 140, 150)
	for _, c := range []struct {
		lsn redoubt.LSN
		t   int64
		ok  bool
	}{
		{1, 115, true}, {0, 115, false}, {2, 115, false},
		{1, 125, true}, {2, 125, true}, {3, 125, false},
		{3, 1000, true}, {2, 1000, false},
	} {
		if err := m.CheckTime(pos(1, c.lsn), c.t); (err == nil) != c.ok {
			t.Errorf("lsn %d for time %d: %v", c.lsn, c.t, err)
		}
	}
}

func TestUniqueBytes(t *testing.T) {
	e := func(d redoubt.DiskID, off, n uint64) Placed {
		return Placed{Change: Change{Disk: d, Extent: redoubt.Extent{Off: off, Len: n}}}
	}
	if got := UniqueBytes([]Placed{e(1, 100, 50), e(1, 0, 10), e(1, 120, 10), e(1, 140, 20), e(2, 0, 10)}); got != 80 {
		t.Fatalf("%d unique bytes, want 80", got)
	}
}

func TestLogRoundTripAndDamage(t *testing.T) {
	m, put := byteModel(t)
	m.Anchor(1, 0)
	put(1, 0, 'a', 1, 2)
	put(1, 7, 'b', 3, 0)
	whole, err := os.ReadFile(filepath.Join(m.dir, "epoch-1"))
	if err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (cs []Change, err error) {
		err = ReadLog(bytes.NewReader(b), func(c Change, _ []byte) error { cs = append(cs, c); return nil })
		return cs, err
	}
	cs, err := read(whole)
	if err != nil || len(cs) != 2 || cs[0] != m.epochs[1].changes[0] || !cs[1].Maybe() {
		t.Fatalf("read %v %v", cs, err)
	}
	for i := range whole {
		bad := bytes.Clone(whole)
		bad[i] ^= 0x10
		if _, err := read(bad); !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Fatalf("a flipped bit in byte %d gives %v", i, err)
		}
	}
	for n := range whole {
		if cs, err := read(whole[:n]); err == nil && len(cs) == 2 {
			t.Fatalf("a log cut to %d bytes reads as whole", n)
		}
	}
}

func FuzzReadLog(f *testing.F) {
	c := Change{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: 512, Len: 3}, Sent: 1, Acked: 2}
	f.Add(appendRecord([]byte(logMagic+"\x01\x00\x00\x00"), &c, []byte("abc")))
	f.Add([]byte(logMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := ReadLog(bytes.NewReader(b), func(Change, []byte) error { return nil })
		if err != nil && !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrVersion) {
			t.Fatalf("unexpected error %v", err)
		}
	})
}
