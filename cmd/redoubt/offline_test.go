package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
	"github.com/redoubt-dr/redoubt/target/segment"
)

// payload is found again in a file, so that a script can damage it.
var payload = bytes.Repeat([]byte("precious"), 512)

// makeJournal: mkjournal DIR — a journal with three writes and a zero.
func makeJournal(ts *testscript.TestScript, _ bool, args []string) {
	j, err := journal.Open(ts.MkAbs(args[0]), journal.Options{FS: vfs.OS, Create: true, SegmentSize: 1 << 20, MaxBytes: 8 << 20, Start: redoubt.Position{Epoch: 1}})
	ts.Check(err)
	w := redoubt.Write{Disk: 1, Kind: redoubt.KindWrite, Extent: redoubt.Extent{Off: 4096, Len: uint64(len(payload))}, CRC: redoubt.Checksum(payload), Data: payload}
	ts.Check(j.Append([]redoubt.Write{w, w, w, {Disk: 2, Kind: redoubt.KindZero, Extent: redoubt.Extent{Len: 1 << 30}}}))
	ts.Check(j.Sync(context.Background(), 4))
	ts.Check(j.Close())
}

// makeShards: mkshards DIR — a shard log with two shards.
func makeShards(ts *testscript.TestScript, _ bool, args []string) {
	l, err := segment.Open(ts.MkAbs(args[0]), segment.Options{FS: vfs.OS})
	ts.Check(err)
	for i := range uint64(2) {
		ts.Check(l.Put(context.Background(), &segment.Shard{ID: segment.ID{Group: "db", Epoch: 1, Ordinal: i}, Data: payload}))
	}
	ts.Check(l.Close())
}

// flip: flip DIR — one bit of the payload's first occurrence below DIR.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	files, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), "*"))
	ts.Check(err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			continue
		}
		if i := bytes.Index(b, payload); i >= 0 {
			b[i+100] ^= 4
			ts.Check(os.WriteFile(f, b, 0o600))
			return
		}
	}
	ts.Fatalf("no payload in %v", files)
}
