package systest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/redoubt-dr/redoubt/demo/site"
	"github.com/redoubt-dr/redoubt/internal/oracle"
)

// S7: zeroes and trims of nearly 4 GiB, the most that a request can have, are one
// record each and no payload, cover what they say to the byte, and are there
// after a kill.
func TestFourGiBOfZeros(t *testing.T) {
	const size, most = 6 << 30, 1<<32 - 4096
	b := &bed{T: t, ctx: t.Context()}
	var err error
	b.dir, err = os.MkdirTemp("", "st")
	b.must(err)
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	img := filepath.Join(b.dir, "a")
	b.must(errors.Join(os.WriteFile(img, nil, 0o600), os.Truncate(img, size)))
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, JournalMax: "64MiB", Segment: "4MiB", Disks: []site.Disk{{Name: "a", Path: img}}})
	b.must(err)
	t.Cleanup(b.end)
	b.must(b.site.Source.Start()) // no target: the journal keeps everything
	x := b.serving()
	c, err := oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)

	page, none := bytes.Repeat([]byte("x"), 4096), make([]byte, 4096)
	const before, first, last, behind = 512, 4096 + 512, 512 + most, 512 + most + 4096
	clean := func(what string) {
		t.Helper()
		for at, want := range map[uint64][]byte{before: page, first: none, last: none, behind: page} {
			got := make([]byte, 4096)
			if _, err := c.ReadAt(got, int64(at)); err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s: at %d: %.16q, %v", what, at, got, err)
			}
		}
	}
	fill := func() {
		t.Helper()
		for _, at := range []uint64{before, first, last, behind} {
			b.must(c.Write(page, at, false))
		}
	}
	fill()
	b.must(c.Zero(before+4096, most, false))
	clean("zeroed")
	fill()
	b.must(errors.Join(c.Trim(before+4096, most), c.Write(page, size-4096, true))) // FUA: all before is durable
	clean("trimmed")
	b.site.Source.Kill()
	out, err := b.site.Run(b.ctx, "journal", "dump", filepath.Join(b.site.Source.Dir, "data", "groups", groupName, "journal"))
	b.must(err)
	if n := strings.Count(out, "4608+4294963200"); n != 2 {
		t.Errorf("%d records of %d bytes in the journal, want 2", n, most)
	}
	b.must(b.site.Source.Start())
	x = b.serving()
	c, err = oracle.Dial(b.ctx, x.Socket, x.Export)
	b.must(err)
	clean("after a kill")
	b.must(c.Close())
}
