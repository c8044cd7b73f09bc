package systest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What a node of the secondary site has on its disk is read without the node:
// shard log, index and catalog. Each tool sees one changed bit.
func TestOfflineTools(t *testing.T) {
	b := newBed(t)
	for range 12 { // deltas enough for runs of the index
		b.change(20)
		b.committed(b.head().LSN)
	}
	n := b.site.Targets[0]
	index := filepath.Join(n.Dir, "data", "target", "index")
	for end := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if out, err := b.site.Run(b.ctx, "index", "dump", index); err == nil && strings.Contains(out, "run off=") {
			break
		}
		if time.Now().After(end) {
			t.Fatal("no run of the index")
		}
	}
	n.Kill()
	for _, c := range []struct {
		tool, dir, file, says string
		at                    int // a byte of the first shard, of a run's first block, of the first log entries
	}{
		{"segment", filepath.Join(n.Dir, "data", "target", "shards"), "*.shards", "shards in ", 600},
		{"index", index, "*.runs", "runs in ", 1100},
		{"catalog", filepath.Join(n.Dir, "data", "cluster"), filepath.Join("wal", "*.wal"), "log entries from ", 600},
	} {
		out, err := b.site.Run(b.ctx, c.tool, "verify", c.dir)
		b.must(err)
		if !strings.Contains(out, c.says) {
			t.Errorf("%s verify: %q", c.tool, out)
		}
		if out, err = b.site.Run(b.ctx, c.tool, "dump", c.dir); err != nil || strings.Count(out, "\n") < 2 {
			t.Errorf("%s dump: %q, %v", c.tool, out, err)
		}
		files, err := filepath.Glob(filepath.Join(c.dir, c.file))
		b.must(err)
		raw, err := os.ReadFile(files[0])
		b.must(err)
		raw[c.at] ^= 8
		b.must(os.WriteFile(files[0], raw, 0o600))
		if _, err = b.site.Run(b.ctx, c.tool, "verify", c.dir); err == nil || !strings.Contains(err.Error(), "corrupt") {
			t.Errorf("%s verify after a bit was changed: %v", c.tool, err)
		}
	}
}
