package target

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
	"github.com/redoubt-dr/redoubt/target/segment"
	"github.com/redoubt-dr/redoubt/target/shards"
)

// damage is a way in which a disk lies. It changes the log of a node that is
// stopped, and returns how many shards it has hit.
type damage struct {
	name string
	do   func(*testing.T, *rand.Rand, string, []segment.Info) int
}

func damages() []damage {
	return []damage{{"flipped", flipped}, {"zeroed", zeroed}, {"truncated", truncated}, {"swapped", swapped}}
}

func edit(t *testing.T, dir string, file uint64, fn func(f *os.File)) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "shards", fileOf(file)), os.O_RDWR, 0)
	noErr(t, err)
	defer f.Close()
	fn(f)
}

// flipped flips a bit of each record, anywhere in it.
func flipped(t *testing.T, rng *rand.Rand, dir string, is []segment.Info) int {
	for _, i := range is {
		edit(t, dir, i.File, func(f *os.File) {
			at := i.Offset + rng.Int64N(headerOf(i)+int64(i.HeadLen)+int64(i.ShardLen))
			b := make([]byte, 1)
			_, err := f.ReadAt(b, at)
			noErr(t, err)
			b[0] ^= 1 << rng.IntN(8)
			_, err = f.WriteAt(b, at)
			noErr(t, err)
		})
	}
	return len(is)
}

// zeroed zeroes the shard of each record and leaves its header.
func zeroed(t *testing.T, _ *rand.Rand, dir string, is []segment.Info) int {
	for _, i := range is {
		edit(t, dir, i.File, func(f *os.File) {
			_, err := f.WriteAt(make([]byte, int64(i.HeadLen)+int64(i.ShardLen)), i.Offset+headerOf(i))
			noErr(t, err)
		})
	}
	return len(is)
}

// truncated cuts every file in its first record.
func truncated(t *testing.T, _ *rand.Rand, dir string, is []segment.Info) int {
	for _, i := range is {
		edit(t, dir, i.File, func(f *os.File) { noErr(t, f.Truncate(512+100)) })
	}
	return len(is)
}

// swapped gives each two shards of equal length one another's bytes, with
// their checksums, under headers that hold.
func swapped(t *testing.T, _ *rand.Rand, dir string, is []segment.Info) (n int) {
	type size struct{ head, shard uint32 }
	first := map[size]segment.Info{}
	for _, b := range is {
		k := size{b.HeadLen, b.ShardLen}
		a, ok := first[k]
		if !ok {
			first[k] = b
			continue
		}
		delete(first, k)
		ra, rb := record(t, dir, a), record(t, dir, b)
		forge(t, dir, a, ra, rb)
		forge(t, dir, b, rb, ra)
		n += 2
	}
	return n
}

func record(t *testing.T, dir string, i segment.Info) []byte {
	b := make([]byte, headerOf(i)+int64(i.HeadLen)+int64(i.ShardLen))
	edit(t, dir, i.File, func(f *os.File) {
		_, err := f.ReadAt(b, i.Offset)
		noErr(t, err)
	})
	return b
}

// forge writes at i the record mine with the content of other: the checksum of
// the head, those of the chunks, head and shard. The header's checksum is made to hold.
func forge(t *testing.T, dir string, i segment.Info, mine, other []byte) {
	b := append([]byte(nil), mine...)
	n := headerOf(i)
	copy(b[76:80], other[76:80])
	chunks := 80 + len(i.Group) + len(i.UUID)
	copy(b[chunks:n-4], other[chunks:n-4])
	copy(b[n:], other[n:])
	binary.LittleEndian.PutUint32(b[n-4:], redoubt.Checksum(b[:n-4]))
	edit(t, dir, i.File, func(f *os.File) {
		_, err := f.WriteAt(b, i.Offset)
		noErr(t, err)
	})
}

// hit damages the shards of the nodes of the set, which are stopped for it.
func (s *site) hit(rng *rand.Rand, d damage, set []int) {
	s.t.Helper()
	for _, n := range set {
		h := s.nodes[n]
		var is []segment.Info
		for _, f := range h.store.log.Numbers() {
			shards, err := h.store.log.InFile(f)
			noErr(s.t, err)
			is = append(is, shards...)
		}
		h.stop()
		if d.do(s.t, rng, h.dir, is) == 0 {
			s.t.Fatalf("%s: no shard of %s is %s", s.t.Name(), h.id, d.name)
		}
	}
	for _, n := range set {
		s.nodes[n].start()
	}
}

// With the shards of any m nodes flipped, zeroed, truncated or swapped every
// point hashes right, and a scrub heals all of them. With those of m+1 nodes
// there is an error, never data.
func TestAnyShardsDamaged(t *testing.T) {
	for _, p := range policies()[:2] {
		t.Run(p.String(), func(t *testing.T) {
			rng := seeded.Rand(t)
			s := newSiteWith(t, p.nodes, func(o *Options) { scrubbing(o); coldCaches(o) })
			src, m := p.written(t, s, rng)
			ds := damages()
			if allPoints() == 0 && p.nodes > 3 { // one of them, by turns; all of them on three nodes
				ds = ds[rng.IntN(len(ds)):][:1]
			}
			for _, d := range ds {
				t.Run(d.name, func(t *testing.T) {
					for _, set := range p.some(t, rng, sets(p.m, p.nodes), 1) {
						s.hit(rng, d, set)
						h := s.away(nil, src)
						if right, failed := src.judge(h, m); failed > 0 {
							t.Errorf("nodes %v %s: %d points right, %d give an error", set, d.name, right, failed)
						}
						s.heal(src, set)
					}
				})
			}
			// What is beyond repair stays so: last, and one way of it.
			t.Run("one_more", func(t *testing.T) {
				d := ds[rng.IntN(len(ds))]
				set := sets(p.m+1, p.nodes)[rng.IntN(len(sets(p.m+1, p.nodes)))]
				s.hit(rng, d, set)
				if right, failed := src.judge(s.away(nil, src), m); failed == 0 {
					t.Errorf("nodes %v %s: %d points are right, none gives an error", set, d.name, right)
				}
			})
		})
	}
}

// complete reports whether the node has all of its shards, and they hold.
func (s *source) complete(h *host) bool {
	g, _ := h.node.Catalog().Group(s.group)
	if g.Committed.LSN != s.j.Head().LSN {
		return false
	}
	segs := h.node.Catalog().Segments(s.group, 1, 0, 1<<20)
	for i := range segs {
		for n, node := range segs[i].Nodes {
			if node == h.id && h.store.log.Scrub(shards.ID(shards.SeriesOf(&g, 1), &segs[i], n)) != nil {
				return false
			}
		}
	}
	return true
}

// heal scrubs the nodes and waits until nothing is missing.
func (s *site) heal(src *source, set []int) {
	s.t.Helper()
	for _, n := range set {
		s.scrubbed(s.nodes[n])
	}
	s.eventually("all shards are built again", func() bool {
		for _, n := range set {
			if !src.complete(s.nodes[n]) {
				return false
			}
		}
		return true
	})
	s.whole(src.group)
	for _, n := range set {
		if f := s.scrubbed(s.nodes[n]); f.Rotten > 0 {
			s.t.Errorf("%s after the repair: %+v", s.nodes[n].id, f)
		}
	}
}
