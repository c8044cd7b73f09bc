package target

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/seeded"
)

// TestIngestRate measures how fast incompressible writes become committed on
// three nodes of this machine, from a journal through TLS:
//
//	REDOUBT_INGEST_MB=512 go test ./target -run TestIngestRate -v
func TestIngestRate(t *testing.T) {
	mb, _ := strconv.Atoi(os.Getenv("REDOUBT_INGEST_MB"))
	if mb == 0 {
		t.Skip("set REDOUBT_INGEST_MB to a number of MiB")
	}
	rng := seeded.Rand(t)
	s := newSite(t, 3)
	src := newSource(t, s, rng)
	src.maxDelta = 4 << 20
	data := make([]byte, 64<<10)
	for i := range data {
		data[i] = byte(rng.Uint32())
	}
	for i := range mb * 16 {
		data[i%len(data)]++
		off := uint64(rng.IntN(16)) * uint64(len(data))
		noErr(t, src.j.Append([]redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: off, Len: uint64(len(data))}, Data: data, CRC: redoubt.Checksum(data)}}))
	}
	start := time.Now()
	stop := src.run()
	src.shipped()
	took := time.Since(start).Seconds()
	noErr(t, stopped(stop()))
	st := s.owner(src.group).store.Stats()
	t.Logf("%d MiB in %.2f s: %.0f MiB/s; %d segments, %d degraded, %d puts in %d syncs at the owner", mb, took, float64(mb)/took, st.Segments, st.Degraded, st.Log.Puts, st.Log.Syncs)
}
