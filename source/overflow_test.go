package source

import (
	"syscall"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/journal"
)

func TestGiveUpTo(t *testing.T) {
	const mib = 1 << 20
	// Ten records a segment; Oldest as the journal counts it.
	oldest := func(bytes int64) redoubt.LSN {
		if bytes <= 0 {
			return 0
		}
		return redoubt.LSN((bytes + 64*mib - 1) / (64 * mib) * 10)
	}
	for _, c := range []struct {
		name           string
		used           int64
		acked, applied redoubt.LSN
		want           redoubt.LSN
	}{
		{"room", 3400 * mib, 0, 640, 0},
		{"an eighth is left", 3600 * mib, 0, 640, 90},
		{"full", 4096 * mib, 0, 640, 160},
		{"the images hold it back", 4096 * mib, 100, 100, 0},
		{"no further than the images are", 4096 * mib, 0, 35, 35},
		{"what is acknowledged goes by itself", 3600 * mib, 200, 640, 0},
	} {
		st := journal.Stats{UsedBytes: c.used, MaxBytes: 4096 * mib, SegmentSize: 64 * mib, Acked: c.acked, Applied: c.applied}
		if got := giveUpTo(st, oldest); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
	// The file system is full long before the bound is reached: what there is of
	// files is all that the journal has.
	cramped := journal.Stats{UsedBytes: 10 * 64 * mib, Files: 10, MaxBytes: 4096 * mib, SegmentSize: 64 * mib, Applied: 100}
	if got := giveUpTo(cramped, oldest); got != 0 {
		t.Errorf("there is room for more files: %d", got)
	}
	cramped.NoSpace = syscall.ENOSPC
	if got := giveUpTo(cramped, oldest); got != 40 {
		t.Errorf("the file system is full: %d, want 40", got)
	}
	small := journal.Stats{UsedBytes: 3 * mib, MaxBytes: 4 * mib, SegmentSize: mib, Applied: 50}
	if got := giveUpTo(small, func(int64) redoubt.LSN { return 20 }); got != 20 {
		t.Errorf("four segments: %d", got)
	}
}

// Whoever asks the secondary while there is a gap says so, or a journal that begins
// behind what is committed would be taken for one that has lost records.
func TestProbesTellOfTheGap(t *testing.T) {
	h, g := openOne(t, nbdConfig(t, ""))
	defer h.Close()
	w, err := g.disks.AppendMark(t.Context(), redoubt.Bookmark{Name: "before"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := g.hello(); got.GivenUp != 0 {
		t.Errorf("without a gap: %d", got.GivenUp)
	}
	if err := g.flush(w.LSN); err != nil {
		t.Fatal(err)
	}
	if err := g.secondary().GiveUp(w.LSN); err != nil {
		t.Fatal(err)
	}
	if got := g.hello(); got.GivenUp != w.LSN {
		t.Errorf("given up to %d, want %d", got.GivenUp, w.LSN)
	}
}
