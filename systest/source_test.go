package systest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/demo/site"
)

// newSource starts a source alone, with disks a and b of the given size over a
// unix socket and plain TCP: what is judged here needs no second site.
func newSource(t *testing.T, size uint64) (b *bed, tcp string) {
	t.Helper()
	b = &bed{T: t, ctx: t.Context(), seed: uint64(time.Now().UnixNano())}
	t.Logf("seed %d", b.seed)
	b.rng = rand.New(rand.NewPCG(b.seed, 0))
	b.disks = []redoubt.Disk{{ID: 1, Name: "a", Size: size}, {ID: 2, Name: "b", Size: size}}
	var err error
	if b.dir, err = os.MkdirTemp("", "st"); err != nil { // t.TempDir is too long for socket paths
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(b.dir) })
	var sd []site.Disk
	for _, d := range b.disks {
		img := filepath.Join(b.dir, d.Name)
		b.must(os.WriteFile(img, nil, 0o600))
		b.must(os.Truncate(img, int64(d.Size)))
		sd = append(sd, site.Disk{Name: d.Name, Path: img})
	}
	b.site, err = site.New(b.ctx, site.Options{BinDir: binDir, Dir: b.dir, Group: groupName, Disks: sd, JournalMax: "6GiB", Targets: 2, Data: 1, Parity: 1})
	b.must(err)
	t.Cleanup(b.end)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	b.must(err)
	tcp = l.Addr().String()
	b.must(l.Close())
	b.reconfigure("      disks:\n", fmt.Sprintf("      nbd: {listen: %q}\n      disks:\n", tcp))
	return b, tcp
}

// reconfigure replaces a part of the source's configuration.
func (b *bed) reconfigure(from, to string) {
	b.Helper()
	old, err := os.ReadFile(b.site.Source.Config())
	b.must(err)
	if !strings.Contains(string(old), from) {
		b.Fatalf("the configuration lacks %q:\n%s", from, old)
	}
	b.must(os.WriteFile(b.site.Source.Config(), []byte(strings.Replace(string(old), from, to, 1)), 0o600))
}

// said returns how often the source's log has a line with the text.
func (b *bed) said(text string) int {
	log, err := os.ReadFile(b.site.Source.LogPath())
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		b.Fatal(err)
	}
	return strings.Count(string(log), text)
}

// socket is the unix socket of the source's disks.
func (b *bed) socket() string { return filepath.Join(b.site.Source.Dir, "run", groupName+".sock") }
