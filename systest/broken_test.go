package systest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// breakage is a Redoubt with one mistake: a piece of a source file that is
// replaced when the programs are built.
type breakage struct{ file, old, bad string }

// breakages are the mistakes that show that the judges can be red.
var breakages = map[string]breakage{
	// The loss receipt leaves out a write that is all zeros on the wire.
	"receipt": {"source/receipt.go", "if w.Kind != redoubt.KindWrite && !w.Kind.Zeroes() {", "if w.Kind != redoubt.KindWrite {"},
	// The way back forgets what the old primary wrote alone.
	"orphans": {"target/export/reverse.go", "union.add(dirty)", "_ = dirty"},
	// The way back ships whole disks.
	"whole": {"target/export/reverse.go", "	union.add(mine)\n", `	for _, d := range p.Disks {
		mine[d.ID] = []redoubt.Extent{{Len: d.Size}}
	}
	union.add(mine)
`},
	// A point that lies within a segment shows less than it holds.
	"stale": {"target/view/reader.go", "sp.Full, sp.Partial, sp.Upto = sg.Ordinal, true, st.To", "sp.Full, sp.Partial, sp.Upto = sg.Ordinal, true, max(st.To, 40)-40"},
	// The source is told that a delta is safe before the cluster has agreed on it.
	"early": {"target/stream.go", `	crashpoint.Here("target.delta.stored")`, `	it.done(it.d.Position(), nil)
	time.Sleep(20 * time.Millisecond)
	crashpoint.Here("target.delta.stored")`},
	// A planned failover does not stop the writers.
	"stop": {"source/stop.go", "g.disks.SetReadOnly(g.stopError(s.Job))", "_ = g.stopError(s.Job)"},
	// The old source goes on writing.
	"fence": {"source/follower.go", "g.disks.SetReadOnly(redoubt.ErrFenced)", "_ = redoubt.ErrFenced"},
}

// overlay writes what `go build -overlay` needs to make the broken programs.
func (b breakage) overlay(dir string) (string, error) {
	path, err := filepath.Abs(filepath.Join("..", b.file))
	if err != nil {
		return "", err
	}
	src, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	if b.old == "" || strings.Count(string(src), b.old) != 1 {
		return "", fmt.Errorf("%s has no single %q to break", b.file, b.old)
	}
	bad := filepath.Join(dir, "broken.go")
	if err := os.WriteFile(bad, []byte(strings.Replace(string(src), b.old, b.bad, 1)), 0o600); err != nil {
		return "", err
	}
	list, err := json.Marshal(map[string]any{"Replace": map[string]string{path: bad}})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	return file, os.WriteFile(file, list, 0o600)
}
