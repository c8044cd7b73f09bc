package ship

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

func TestKeepFrom(t *testing.T) {
	for _, c := range []struct{ acked, whole, oldest, want redoubt.LSN }{
		{100, 100, 0, 100},  // all is whole
		{100, 40, 0, 40},    // kept from 41 on
		{100, 40, 30, 40},   // the room that is needed is free already
		{100, 40, 60, 60},   // let go for room
		{100, 40, 200, 100}, // never what is not acked
		{100, 500, 0, 100},  // the word of it may come before the ack
	} {
		if got := keepFrom(c.acked, c.whole, c.oldest); got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
	if overFull(75, 100) != 0 || overFull(80, 100) != 5 {
		t.Errorf("a journal of 100 with 75: %d, with 80: %d", overFull(75, 100), overFull(80, 100))
	}
}

// What is not whole stays in the journal until three quarters of it are used;
// then the oldest goes, and no more than needed. What is whole goes at once.
func TestKeeperLetsGoForRoom(t *testing.T) {
	const segment, most = 1 << 20, 16 << 20
	j, err := journal.Open(filepath.Join(t.TempDir(), "journal"), journal.Options{FS: vfs.OS, Create: true, SegmentSize: segment, MaxBytes: most, Start: redoubt.Position{Epoch: 1}})
	if err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	ack, err := openCursor(j, "target")
	if err != nil {
		t.Fatal(err)
	}
	k, err := openKeeper(j, "whole")
	if err != nil {
		t.Fatal(err)
	}
	k.begin(true)
	data := make([]byte, 64<<10)
	// fill appends n bytes, applied and acked but not whole.
	fill := func(n int) {
		t.Helper()
		for ; n > 0; n -= len(data) {
			if err := j.Append([]redoubt.Write{{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Len: uint64(len(data))}, Data: data, CRC: redoubt.Checksum(data)}}); err != nil {
				t.Fatal(err)
			}
			head := j.Head().LSN
			if err := j.SetApplied(head); err != nil {
				t.Fatal(err)
			}
			if err := ack.Ack(head); err != nil {
				t.Fatal(err)
			}
			if err := k.settle(head); err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(8 << 20)
	if j.Tail() != 1 || k.cur.Acked() != 0 {
		t.Errorf("half full: the journal begins at %d, kept from %d", j.Tail(), k.cur.Acked())
	}
	whole, kept, gaveUp := k.status(j.Head().LSN)
	if whole != 0 || kept < 6<<20 || gaveUp != 0 {
		t.Errorf("half full: whole %d, kept %d, gave up %d", whole, kept, gaveUp)
	}
	fill(24 << 20) // more than the journal holds: it never blocks
	whole, kept, gaveUp = k.status(j.Head().LSN)
	if whole != 0 || gaveUp == 0 || kept < most/2 || kept > most {
		t.Errorf("after more than fits: whole %d, kept %d, gave up %d", whole, kept, gaveUp)
	}
	head := j.Head().LSN
	k.learn(head)
	if err := k.settle(head); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(20 * time.Second)
	for j.Stats().UsedBytes > 2*segment {
		if time.Now().After(deadline) {
			t.Fatalf("%d bytes are used although all is whole", j.Stats().UsedBytes)
		}
		time.Sleep(time.Millisecond) // the journal trims behind the ack
	}
	if whole, kept, gaveUp = k.status(head); whole != head || kept > 0 || gaveUp > 0 {
		t.Errorf("all is whole: %d of %d, kept %d, gave up %d", whole, head, kept, gaveUp)
	}
	// An old receiver does not tell: then an ack is enough.
	k.begin(false)
	fill(4 << 20)
	if at := k.cur.Acked(); at != j.Head().LSN {
		t.Errorf("a receiver that does not tell: kept from %d", at)
	}
}
