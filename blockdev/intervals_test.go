package blockdev

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/redoubt-dr/redoubt"
)

// soundness checks what every operation must keep: sorted pieces that do not
// overlap, no empty leaf or piece, and a true count.
func (m *intervals) soundness(t interface{ Fatalf(string, ...any) }) {
	n, at := 0, uint64(0)
	for i, lf := range m.leaves {
		if len(lf) == 0 || len(lf) >= leafMax {
			t.Fatalf("leaf %d has %d pieces", i, len(lf))
		}
		for _, p := range lf {
			if p.off < at || p.end <= p.off || p.data != nil && uint64(len(p.data)) != p.end-p.off {
				t.Fatalf("piece %d-%d with %d bytes after %d", p.off, p.end, len(p.data), at)
			}
			at = p.end
			n++
		}
	}
	if n != m.n {
		t.Fatalf("counts %d pieces, has %d", m.n, n)
	}
}

func TestIntervalsAgainstBytes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := uint64(rapid.SampledFrom([]int{64, 1 << 12, 1 << 15}).Draw(t, "size"))
		longest := uint64(rapid.SampledFrom([]int{4, 64, 1 << 12}).Draw(t, "longest"))
		model, known := make([]byte, size), make([]bool, size)
		var m intervals
		for i := range rapid.IntRange(1, 600).Draw(t, "puts") {
			off := rapid.Uint64Range(0, size-1).Draw(t, "off")
			n := rapid.Uint64Range(1, min(longest, size-off)).Draw(t, "len")
			p := piece{off: off, end: off + n}
			fill := byte(0)
			if rapid.IntRange(0, 3).Draw(t, "kind") > 0 {
				fill = byte(i%255 + 1)
				p.data = bytes.Repeat([]byte{fill}, int(n))
			}
			m.put(p)
			for k := off; k < off+n; k++ {
				model[k], known[k] = fill, true
			}
		}
		m.soundness(t)
		off := rapid.Uint64Range(0, size-1).Draw(t, "read off")
		got := bytes.Repeat([]byte{0xee}, int(rapid.Uint64Range(1, size-off).Draw(t, "read len")))
		e := redoubt.Extent{Off: off, Len: uint64(len(got))}
		gaps := m.fill(got, off, e, nil)
		want := bytes.Clone(model[off:e.End()])
		for k := range want {
			if !known[off+uint64(k)] {
				want[k] = 0xee
			}
		}
		if !bytes.Equal(got, want) {
			t.Fatalf("read %s differs from the model", e)
		}
		for _, g := range gaps {
			for k := g.Off; k < g.End(); k++ {
				if known[k] {
					t.Fatalf("gap %s has byte %d", g, k)
				}
				known[k] = true
			}
		}
		for k := e.Off; k < e.End(); k++ {
			if !known[k] {
				t.Fatalf("byte %d is neither there nor in a gap", k)
			}
		}
	})
}

func TestIntervalsOneZeroOverMany(t *testing.T) {
	var m intervals
	for i := range uint64(100_000) {
		m.put(piece{off: i * 8192, end: i*8192 + 4096, data: make([]byte, 4096)[:4096:4096]})
		if i == 2000 {
			m.soundness(t)
		}
	}
	m.put(piece{off: 100, end: 99_999*8192 + 100})
	m.soundness(t)
	if m.n != 3 {
		t.Fatalf("%d pieces are left, want the head, the zeros and the tail", m.n)
	}
}

func BenchmarkIntervalsPut(b *testing.B) {
	data := make([]byte, 4096)
	var m intervals
	x := uint64(1)
	for b.Loop() {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		off := x % (1 << 18) * 4096
		m.put(piece{off: off, end: off + 4096, data: data})
		if m.n > 60_000 {
			m = intervals{}
		}
	}
}
