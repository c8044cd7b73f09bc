package redoubt_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/redoubt-dr/redoubt"

// room is one line of the import table: what the packages under path may
// import of this module. "." is the root package.
type room struct {
	path string
	may  []string
}

var plumbing = []string{".", "internal/vfs", "internal/wire", "internal/rpc", "internal/netmux", "internal/pki", "internal/version", "internal/histogram", "internal/complaint", "internal/handover", "internal/hook", "internal/crashpoint", "internal/slab"}

// importTable holds the direction in which data flows. The longest path that
// fits decides. See docs/ARCHITECTURE.md.
var importTable = []room{
	{".", nil},
	{"internal/vfs", []string{"."}},
	{"internal/wire", []string{"."}},
	{"internal/pki", []string{"."}},
	{"internal/version", nil},
	{"internal/histogram", nil},
	{"internal/complaint", nil},
	{"internal/crashpoint", nil},
	{"internal/slab", nil},
	{testOnly, nil},
	{"internal/handover", []string{"."}},
	{"internal/hook", []string{"."}},
	{"internal/rpc", plumbing},
	{"internal/netmux", plumbing},
	{"internal/oracle", []string{"."}},
	{"journal", plumbing},
	{"blockdev", with(plumbing, "journal")},
	{"ship", with(plumbing, "journal")},
	{"cluster", plumbing},
	{"cluster/catalog", []string{"."}},
	{"compare", plumbing},
	{"target", with(plumbing, "journal", "blockdev", "ship", "compare", "cluster")},
	{"source", with(plumbing, "journal", "blockdev", "ship", "compare")},
	{"target/barrier", []string{"."}},
	{"target/pace", nil},
	{"target/peers", with(plumbing, "cluster/catalog")},
	{"target/cache", nil},
	{"target/segment", with(plumbing, "target/cache")},
	{"target/index", with(plumbing, "target/cache")},
	{"target/retention", []string{".", "cluster/catalog"}},
	{"target/shards", with(plumbing, "ship", "cluster/catalog", "target/peers", "target/cache", "target/segment", "target/index")},
	{"target/view", with(plumbing, "ship", "cluster/catalog", "target/cache", "target/index", "target/shards")},
	{"target/history", with(plumbing, "ship", "cluster/catalog", "target/index", "target/shards", "target/retention")},
	{"target/thin", with(plumbing, "ship", "cluster/catalog", "target/pace", "target/peers", "target/index", "target/shards", "target/history", "target/retention")},
	{"target/gc", with(plumbing, "cluster/catalog", "target/pace", "target/segment")},
	{"target/scrub", with(plumbing, "cluster/catalog", "target/pace", "target/segment", "target/index", "target/gc")},
	{"target/repair", with(plumbing, "ship", "cluster/catalog", "target/pace", "target/segment", "target/index", "target/shards")},
	{"admin", plumbing},
	{"crashtest", []string{".", "internal/vfs", "journal", "blockdev"}},
	{"internal/config", plumbing},
	{"plan", with(plumbing, "internal/config", "internal/hook", "cluster")},
	{"cmd", []string{"*"}},
	{"cmd/redoubtd/metrics", []string{"admin"}},
	{"demo", []string{".", "internal/oracle", "admin/v1"}},
	{"bench", []string{".", "internal/oracle", "admin/v1", "demo/site", "bench/stats"}},
	{"bench/failover", []string{"internal/oracle", "admin/v1", "demo/site"}},
	{"bench/coldcache", nil},
	{"bench/stats", nil},
	{"bench/target", []string{"admin", "admin/v1", "demo/site", "bench/coldcache", "bench/stats"}},
	{"bench/rto", with(plumbing, "bench/coldcache", "bench/stats", "internal/oracle", "admin", "demo/site", "cluster", "ship", "target")},
	{"systest", []string{".", "internal/oracle", "admin/v1", "demo"}},
}

// testOnly is what no program may hold: the tests' source of chance.
const testOnly = "internal/seeded"

// importers says who may import a module from elsewhere: its types stay inside.
var importers = map[string][]string{
	"github.com/dgraph-io/badger":       {"journal", "target"},
	"github.com/hashicorp/raft":         {"cluster"},
	"github.com/klauspost/reedsolomon":  {"target/shards"},
	"connectrpc.com/connect":            {"admin", "cmd"},
	"github.com/spf13/cobra":            {"cmd"},
	"github.com/goccy/go-yaml":          {"internal/config", "cmd"},
	"github.com/pojntfx/go-nbd":         {"blockdev", "internal/oracle"},
	"github.com/mdlayher":               {"blockdev"},
	"github.com/anishathalye/porcupine": nil, // tests only
}

type listed struct {
	ImportPath string
	Standard   bool
	Imports    []string
}

func TestImportsFollowTheData(t *testing.T) {
	for _, p := range list(t) {
		rel := relative(p.ImportPath)
		r, ok := find(rel)
		if !ok {
			t.Errorf("%s has no line in the import table: add one, and say in docs/ARCHITECTURE.md what it is for", rel)
			continue
		}
		for _, bad := range []string{"util", "utils", "common", "types", "helpers"} {
			if strings.HasSuffix("/"+rel, "/"+bad) {
				t.Errorf("%s: a package is named after what it holds", rel)
			}
		}
		for _, imp := range p.Imports {
			checkImport(t, rel, r, imp)
		}
	}
}

func checkImport(t *testing.T, rel string, r room, imp string) {
	t.Helper()
	if imp != module && !strings.HasPrefix(imp, module+"/") {
		if rel == "." && strings.Contains(strings.Split(imp, "/")[0], ".") {
			t.Errorf("the root package imports %s; it uses the standard library only", imp)
		}
		for mod, allowed := range importers {
			if under(imp, mod) && !anyUnder(rel, allowed) {
				t.Errorf("%s imports %s, which belongs to %v", rel, imp, allowed)
			}
		}
		return
	}
	to := relative(imp)
	if to == testOnly {
		t.Errorf("%s imports %s, which is for tests", rel, to)
		return
	}
	if (r.path != "." && under(to, r.path)) || anyUnder(to, r.may) {
		return
	}
	t.Errorf("%s must not import %s (allowed: %v)", rel, to, r.may)
}

// The catalog gives the same answers on every node: it has no file, no network,
// no chance, and nothing of a library's.
func TestTheCatalogIsPure(t *testing.T) {
	const pure = "cluster/catalog"
	seen := false
	for _, p := range list(t) {
		if relative(p.ImportPath) != pure {
			continue
		}
		seen = true
		for _, imp := range p.Imports {
			first, _, _ := strings.Cut(imp, "/")
			foreign := strings.Contains(first, ".") && imp != module
			if foreign || anyUnder(imp, []string{"os", "net", "syscall", "log", "math/rand", "crypto/rand"}) {
				t.Errorf("%s imports %s", pure, imp)
			}
		}
	}
	if !seen {
		t.Errorf("%s is gone", pure)
	}
}

// TestImportTableNamesRealPackages fails for a line whose package is gone.
func TestImportTableNamesRealPackages(t *testing.T) {
	pkgs := list(t)
	for _, r := range importTable {
		found := false
		for _, p := range pkgs {
			found = found || under(relative(p.ImportPath), r.path)
		}
		if !found {
			t.Errorf("the import table names %s, which has no package", r.path)
		}
	}
}

func with(base []string, more ...string) []string {
	return append(append([]string(nil), base...), more...)
}

func relative(path string) string {
	if path == module {
		return "."
	}
	return strings.TrimPrefix(path, module+"/")
}

func find(rel string) (room, bool) {
	var best room
	ok := false
	for _, r := range importTable {
		if under(rel, r.path) && (!ok || len(r.path) > len(best.path)) {
			best, ok = r, true
		}
	}
	return best, ok
}

func under(path, prefix string) bool {
	return path == prefix || prefix == "*" || prefix != "." && strings.HasPrefix(path, prefix+"/")
}

func anyUnder(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if under(path, p) {
			return true
		}
	}
	return false
}

func list(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Standard,Imports", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	var pkgs []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
	if len(pkgs) == 0 {
		t.Fatal("go list named no package")
	}
	return pkgs
}
