package target

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// The policies that are judged. By default a part of the points and of the
// cases is taken; all of them, with 200 points each, of one policy and kind, in
// two parts:
//
//	REDOUBT_POINTS=200 REDOUBT_PART=1/2 go test ./target -run 'TestAnyNodesRemoved/4.2_on_6/one_more' -v
//	REDOUBT_POINTS=200 REDOUBT_PART=2/2 go test ./target -run 'TestAnyNodesRemoved/4.2_on_6/one_more' -v
type policy struct {
	nodes, k, m  int
	points, sets int // points to be judged, and sets of nodes to be removed, by default
}

func policies() []policy {
	ps := []policy{{3, 2, 1, 20, 3}, {6, 4, 2, 8, 5}, {5, 3, 2, 4, 2}}
	if n := allPoints(); n > 0 {
		for i := range ps {
			ps[i].points = n
		}
	}
	return ps
}

// allPoints is the number of points if everything is to be judged, or 0.
func allPoints() int {
	n, _ := strconv.Atoi(os.Getenv("REDOUBT_POINTS"))
	return n
}

func (p policy) String() string { return fmt.Sprintf("%d+%d_on_%d", p.k, p.m, p.nodes) }

// sets returns all sets of n of the numbers below of, each a little different from the last.
func sets(n, of int) (out [][]int) {
	if n == 0 {
		return [][]int{nil}
	}
	for top := n - 1; top < of; top++ {
		rest := sets(n-1, top)
		if top%2 == 0 {
			slices.Reverse(rest)
		}
		for _, s := range rest {
			out = append(out, append(slices.Clone(s), top))
		}
	}
	return out
}

// marks are checksums of all disks at some points.
type marks map[redoubt.LSN][]uint32

func (s *source) mark(m marks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var sums []uint32
	for _, b := range s.now {
		sums = append(sums, redoubt.Checksum(b))
	}
	m[s.j.Head().LSN] = sums
}

// written makes a history with the given number of points in it, of which each
// is in a segment with all of its shards.
func (p policy) written(t *testing.T, s *site, rng *rand.Rand) (*source, marks) {
	t.Helper()
	src := newSource(t, s, rng)
	src.k, src.m, src.maxDelta = p.k, p.m, 64<<10
	src.disks = []redoubt.Disk{{ID: 1, Name: "root", Size: 512 << 10}, {ID: 2, Name: "data", Size: 256 << 10}}
	for i, d := range src.disks {
		src.now[i] = src.now[i][:d.Size]
	}
	stop := src.run()
	src.copyAll()
	src.shipped()
	m := marks{}
	for i := range p.points {
		src.write(1 + rng.IntN(20))
		src.mark(m)
		if i%5 == 0 {
			src.shipped() // or all of them are in a few segments
		}
	}
	// Segments of equal size, which can be swapped.
	for range 12 {
		src.writeExactly(4096)
		src.shipped()
	}
	src.mark(m)
	s.whole(src.group)
	noErr(t, stopped(stop()))
	return src, m
}

// writeExactly writes n bytes that do not compress.
func (s *source) writeExactly(n int) {
	s.t.Helper()
	off := uint64(s.rng.IntN(int(s.disks[0].Size)/n)) * uint64(n)
	s.mu.Lock()
	defer s.mu.Unlock()
	dst := s.now[0][off : off+uint64(n)]
	for i := range dst {
		dst[i] = byte(s.rng.Uint32())
	}
	data := slices.Clone(dst)
	noErr(s.t, s.j.Append([]redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: off, Len: uint64(n)}, Data: data, CRC: redoubt.Checksum(data)}}))
}

// judged is how many points are read at once: with nodes missing most of the
// time is waiting.
const judged = 16

// judge reads all disks at every point through h. It counts the points that are
// right and those that give an error; wrong data fails the test.
func (s *source) judge(h *host, m marks) (right, failed int) {
	s.t.Helper()
	begun := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, judged)
	for l, sums := range m {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			p := redoubt.Position{Epoch: 1, LSN: l}
			ok, err := s.reads(h, p, sums)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil:
				if failed++; failed <= 3 {
					s.t.Logf("%s at %s: %v", p, h.id, err)
				}
				if !errors.Is(err, redoubt.ErrCorrupt) && !errors.Is(err, redoubt.ErrUnavailable) && !errors.Is(err, redoubt.ErrNotFound) {
					s.t.Errorf("%s at %s: unexpected error: %v", p, h.id, err)
				}
			case !ok:
				s.t.Errorf("%s at %s: wrong data", p, h.id)
			default:
				right++
			}
		})
	}
	wg.Wait()
	s.t.Logf("%d points are right, %d give an error, in %s", right, failed, time.Since(begun).Round(time.Millisecond))
	return right, failed
}

func (s *source) reads(h *host, p redoubt.Position, sums []uint32) (bool, error) {
	v, err := h.store.View(s.t.Context(), s.group, p)
	if err != nil {
		return false, err
	}
	defer v.Close()
	for i, d := range s.disks {
		got := make([]byte, d.Size)
		if err := v.ReadAt(d.ID, got, 0); err != nil {
			return false, err
		}
		if redoubt.Checksum(got) != sums[i] {
			return false, nil
		}
	}
	return true, nil
}

// coldCaches: what is in memory is not lost with a node.
func coldCaches(o *Options) { o.CacheBytes, o.HeadBytes = 32<<10, 32<<10 }

// away stops the nodes of the set and starts all others; it returns one that is
// up. All of them know the whole history.
func (s *site) away(set []int, src *source) *host {
	s.t.Helper()
	var up *host
	for i, h := range s.nodes {
		if !slices.Contains(set, i) && h.store == nil {
			h.start()
		}
	}
	// Without a majority nobody learns anything any more.
	s.eventually("the catalog of all that are up", func() bool {
		for _, h := range s.nodes {
			if h.store == nil {
				continue
			}
			if g, _ := h.node.Catalog().Group(src.group); g.Committed.LSN != src.j.Head().LSN {
				return false
			}
		}
		return true
	})
	for i, h := range s.nodes {
		if slices.Contains(set, i) {
			h.stop()
		} else if up == nil || src.rng.IntN(2) == 0 {
			up = h
		}
	}
	return up
}

// With any m nodes removed every point hashes right; with any m+1 there is an
// error, never data.
func TestAnyNodesRemoved(t *testing.T) {
	for _, p := range policies() {
		t.Run(p.String(), func(t *testing.T) {
			rng := seeded.Rand(t)
			s := newSiteWith(t, p.nodes, coldCaches)
			src, m := p.written(t, s, rng)
			t.Run("as_many", func(t *testing.T) {
				for _, set := range p.some(t, rng, sets(p.m, p.nodes), p.sets) {
					h := s.away(set, src)
					if right, failed := src.judge(h, m); failed > 0 || right != len(m) {
						t.Errorf("without nodes %v: %d points right, %d give an error", set, right, failed)
					}
				}
			})
			few := marks{}
			for l, sums := range m {
				if few[l] = sums; len(few) == 3 && allPoints() == 0 {
					break
				}
			}
			t.Run("one_more", func(t *testing.T) {
				for _, set := range p.some(t, rng, sets(p.m+1, p.nodes), 1) {
					s.away(nil, src)
					h := s.away(set, src)
					right, failed := src.judge(h, few)
					if failed == 0 {
						t.Errorf("without nodes %v: %d points are right, none gives an error", set, right)
					}
				}
			})
		})
	}
}

// some takes at most n cases by chance, or all of them, or of these the part that
// REDOUBT_PART names, such as 2/5.
func (p policy) some(t *testing.T, rng *rand.Rand, all [][]int, n int) [][]int {
	t.Helper()
	if v := os.Getenv("REDOUBT_PART"); v != "" && allPoints() > 0 {
		var part, of int
		if _, err := fmt.Sscanf(v, "%d/%d", &part, &of); err != nil || part < 1 || part > of {
			t.Fatalf("REDOUBT_PART=%s is no part such as 2/5", v)
		}
		all = all[(part-1)*len(all)/of : part*len(all)/of]
	}
	if allPoints() > 0 || len(all) <= n {
		t.Logf("%d sets", len(all))
		return all
	}
	at := rng.IntN(len(all) - n + 1)
	return all[at : at+n]
}
