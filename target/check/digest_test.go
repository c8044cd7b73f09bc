package check

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// sparse is a content that gives its data in pieces and leaves zeros out.
type sparse struct {
	disks []redoubt.Disk
	data  [][]byte
	rng   *rand.Rand
}

func (s *sparse) Disks() []redoubt.Disk { return s.disks }

func (s *sparse) EachData(_ context.Context, d redoubt.DiskID, fn func(off uint64, data []byte) error) error {
	b := s.data[d-1]
	for off := 0; off < len(b); {
		n := min(len(b)-off, 1+s.rng.IntN(700_000))
		zero := true
		for _, x := range b[off : off+n] {
			zero = zero && x == 0
		}
		if !zero || s.rng.IntN(4) == 0 {
			if err := fn(uint64(off), b[off:off+n]); err != nil {
				return err
			}
		}
		off += n
	}
	return nil
}

// plain is the digest as docs/formats/receipt.md says it, over whole images.
func plain(disks [][]byte) string {
	root := sha256.New()
	root.Write([]byte("redoubt-root-1\n"))
	for _, b := range disks {
		h := sha256.New()
		h.Write([]byte("redoubt-disk-1\n"))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		for len(b) > 0 {
			n := min(len(b), 1<<20)
			sum := sha256.Sum256(b[:n])
			h.Write(sum[:])
			b = b[n:]
		}
		root.Write(h.Sum(nil))
	}
	return hex.EncodeToString(root.Sum(nil))
}

func TestDigestIsThatOfTheImages(t *testing.T) {
	rng := seeded.Rand(t)
	for range 10 {
		s := &sparse{rng: rng}
		for i := range 1 + rng.IntN(3) {
			b := make([]byte, (1+rng.IntN(12_000))*redoubt.SectorSize)
			for range rng.IntN(6) {
				at := rng.IntN(len(b))
				for j := at; j < min(len(b), at+rng.IntN(2<<20)+1); j += 97 {
					b[j] = byte(rng.Uint32())
				}
			}
			s.disks = append(s.disks, redoubt.Disk{ID: redoubt.DiskID(i + 1), Name: "d", Size: uint64(len(b))})
			s.data = append(s.data, b)
		}
		root, disks, err := digest(t.Context(), s)
		if err != nil || root != plain(s.data) || len(disks) != len(s.disks) {
			t.Fatalf("%s, want %s; %v", root, plain(s.data), err)
		}
		b := s.data[0]
		b[rng.IntN(len(b))] ^= 1
		if again, _, _ := digest(t.Context(), s); again == root {
			t.Fatal("a flipped bit does not change the digest")
		}
	}
}
