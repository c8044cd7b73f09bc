package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

const sourceYAML = `name: host1
identity: /etc/redoubt/identity
source:
  targets: [t1:7700, t2:7700]
  groups:
    - name: db
      disks: [{name: root, path: /srv/root.img}, {name: "007", path: /dev/sdb}]
`

func TestDefaults(t *testing.T) {
	c, err := Parse([]byte(sourceYAML))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		Name: "host1", DataDir: "/var/lib/redoubt", RunDir: "/run/redoubt", Identity: "/etc/redoubt/identity",
		Listen: "0.0.0.0:7700", Advertise: "host1:7700",
		Log: Log{"info", "text"}, Metrics: Metrics{"unix:/run/redoubt/metrics.sock"},
		Source: &Source{Targets: []string{"t1:7700", "t2:7700"}, Groups: []Group{{
			Name:       "db",
			Journal:    Journal{Dir: "/var/lib/redoubt/groups/db/journal", Max: 4 * GiB, Segment: 64 * MiB, OnFull: "track", FullWait: Duration(30 * time.Second)},
			Redundancy: Redundancy{2, 1}, Memory: 256 * MiB, NBD: NBD{ReadMemory: 256 * MiB}, Verify: Verify{Rate: 64 * MiB},
			Disks: []Disk{{"root", "/srv/root.img"}, {"007", "/dev/sdb"}},
			Hooks: Hooks{Time: Duration(30 * time.Second), Hold: Duration(time.Minute)},
		}}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

func TestNBDClients(t *testing.T) {
	c, err := Parse([]byte(strings.Replace(sourceYAML, "name: db", "name: db\n      nbd: {listen: \"0.0.0.0:10809\", clients: [vm1, backup]}", 1)))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := c.Source.Groups[0].NBD, (NBD{"0.0.0.0:10809", []string{"vm1", "backup"}, 256 * MiB}); !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
}

func TestValuesOverrideDefaults(t *testing.T) {
	c, err := Parse([]byte(`
name: t1
data_dir: /d
run_dir: /r
listen: "[::]:9000"
advertise: t1.example:9000
identity: /i
log:
  level: debug
  format: json
metrics:
  listen: off
target:
  bootstrap:
    - {name: t1, address: "t1.example:9000"}
    - name: t2
      address: t2.example:9000
  owner_timeout: 1m30s
  cache: 1.5GiB
  scrub: {rate: 32MiB, every: 24h}
  repair:
    lag: 200ms
  checks:
    scripts: /etc/redoubt/checks
    time: 1m
    schedule: [{group: db, script: e2fsck, at: latest-app}]
`))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{Name: "t1", DataDir: "/d", RunDir: "/r", Listen: "[::]:9000", Advertise: "t1.example:9000", Identity: "/i",
		Log: Log{"debug", "json"}, Metrics: Metrics{"off"},
		Target: &Target{Bootstrap: []Node{{"t1", "t1.example:9000"}, {"t2", "t2.example:9000"}}, OwnerTimeout: Duration(90 * time.Second), Cache: 1536 * MiB, Hydrate: "none", HydrateRate: 64 * MiB, CompareRate: 256 * MiB,
			Scrub: Scrub{Rate: 32 * MiB, Every: Duration(24 * time.Hour)}, Repair: Repair{Rate: 64 * MiB, Lag: Duration(200 * time.Millisecond)},
			Checks: Checks{"/etc/redoubt/checks", Duration(time.Minute), []Scheduled{{"db", "e2fsck", "latest-app", Duration(24 * time.Hour), true}}}}}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
}

// Each fault has to be found alone, at its line and column.
func TestFaults(t *testing.T) {
	edit := func(old, new string) string {
		if !strings.Contains(sourceYAML, old) {
			t.Fatalf("the sample has no %q", old)
		}
		return strings.Replace(sourceYAML, old, new, 1)
	}
	const dbDisks = "      disks: [{name: root, path: /srv/root.img}, {name: \"007\", path: /dev/sdb}]\n"
	targets := func(s string) string { return "name: t1\ntarget:\n" + s }
	for _, tc := range []struct{ name, yaml, want string }{
		{"misspelt key", edit("name: db", "name: db\n      memry: 64MiB"), `7:7: source.groups[0].memry: unknown key (did you mean memory?)`},
		{"unknown key", edit("name: host1", "name: host1\nqwertyuiop: 1"), `2:1: qwertyuiop: unknown key (known keys: name, data_dir`},
		{"misspelt key in flow", edit("path: /dev/sdb", "pth: /dev/sdb"), `pth: unknown key (did you mean path?)`},
		{"twice", edit("name: host1", "name: host1\nname: host2"), `2:1: mapping key "name" already defined at [1:1]`},
		{"tab", edit("  targets", "\ttargets"), `4:1: `},
		{"bad size", edit("name: db", "name: db\n      memory: 64MB"), `7:15: source.groups[0].memory: "64MB" is not valid (a size is`},
		{"small size", edit("name: db", "name: db\n      memory: 0"), `7:15: source.groups[0].memory: 0B is out of range (16MiB to 1TiB)`},
		{"bare duration", edit("name: db", "name: db\n      journal: {full_wait: 30}"), `source.groups[0].journal.full_wait: "30" is not valid (a duration is`},
		{"not a number", edit("name: db", "name: db\n      redundancy: {data: two}"), `source.groups[0].redundancy.data: "two" is not valid (a whole decimal number)`},
		{"hooks on the root", edit("name: db", "name: db\n      hooks: {mounts: [/srv, /]}"), `source.groups[0].hooks.mounts[1]: the file system that holds / is never frozen`},
		{"hooks relative", edit("name: db", "name: db\n      hooks: {scripts: hooks}"), `source.groups[0].hooks.scripts: "hooks" is relative`},
		{"hooks held too short", edit("name: db", "name: db\n      hooks: {time: 2m}"), `source.groups[0].hooks.hold: 1m0s is out of range (2m0s to 1h0m0s)`},
		{"lease too short", edit("name: db", "name: db\n      lease: 5s"), `source.groups[0].lease: 5s is out of range`},
		{"bookmarks too often", edit("name: db", "name: db\n      bookmark_every: 1s"), `source.groups[0].bookmark_every: 1s is out of range`},
		{"check without scripts", targets("  bootstrap: [{name: t1, address: \"t1:7700\"}]\n  checks: {schedule: [{group: db, script: e2fsck}]}\n"), `target.checks.scripts: is missing`},
		{"check of a path", targets("  bootstrap: [{name: t1, address: \"t1:7700\"}]\n  checks: {scripts: /c, schedule: [{group: db, script: ../x}]}\n"), `target.checks.schedule[0].script: "../x" is not valid`},
		{"no parity", edit("name: db", "name: db\n      redundancy: {parity: 0}"), `source.groups[0].redundancy.parity: 0 is out of range`},
		{"list for a value", edit("name: host1", "name: [host1]"), `1:7: name: needs a single value, has a list`},
		{"value for a list", edit("[t1:7700, t2:7700]", "t1:7700"), `4:12: source.targets: needs a list, has a single value`},
		{"nothing", edit("name: db", "name: db\n      journal:"), `source.groups[0].journal: needs keys below it, has nothing`},
		{"anchor", edit("name: host1", "name: &x host1"), `name: needs a single value, has an anchor or alias`},
		{"no name", edit("name: host1\n", ""), `name: is missing`},
		{"bad name", edit("name: host1", "name: a/b"), `1:7: name: "a/b" is not valid`},
		{"no port", edit("t2:7700", "t2"), `4:22: source.targets[1]: "t2" is not HOST:PORT`},
		{"relative", edit("/srv/root.img", "root.img"), `source.groups[0].disks[0].path: "root.img" is relative`},
		{"same path", edit("/dev/sdb", "/srv/./root.img"), `source.groups[0].disks[1].path: "/srv/root.img" is used twice (first at source.groups[0].disks[0].path)`},
		{"same disk", edit(`"007"`, "root"), `source.groups[0].disks[1].name: "root" is used twice`},
		{"reserved name", edit("name: db", "name: admin"), `6:13: source.groups[0].name: "admin" is the name of one of the daemon's own sockets`},
		{"no disks", edit(dbDisks, ""), `6:7: source.groups[0].disks: is missing`},
		{"tiny journal", edit("name: db", "name: db\n      journal: {max: 128MiB}"), `7:22: source.groups[0].journal.max: 128MiB holds fewer than four segments of 64MiB`},
		{"on_full", edit("name: db", "name: db\n      journal: {on_full: drop}"), `"drop" is not valid (one of track, block)`},
		{"bool", edit("name: db", "name: db\n      journal: {preallocate: yes}"), `journal.preallocate: "yes" is not valid`},
		{"nbd", edit("name: db", "name: db\n      nbd: {listen: \"0.0.0.0:10809\"}"), `nbd.listen: "0.0.0.0:10809" is no loopback address`},
		{"nbd client", edit("name: db", "name: db\n      nbd: {listen: \"0.0.0.0:10809\", clients: [vm1, a/b]}"), `nbd.clients[1]: "a/b" is not valid`},
		{"nbd read memory", edit("name: db", "name: db\n      nbd: {read_memory: 1KiB}"), `nbd.read_memory: 1KiB is out of range (1MiB to 1TiB)`},
		{"nbd client twice", edit("name: db", "name: db\n      nbd: {listen: \"0.0.0.0:10809\", clients: [vm1, vm1]}"), `nbd.clients[1]: "vm1" is used twice`},
		{"nbd clients alone", edit("name: db", "name: db\n      nbd: {clients: [vm1]}"), `nbd.listen: is missing`},
		{"nbd port", edit("name: db", "name: db\n      nbd: {listen: \"0.0.0.0\", clients: [vm1]}"), `nbd.listen: "0.0.0.0" is not HOST:PORT`},
		{"level", edit("name: host1", "name: host1\nlog: {level: loud}"), `2:14: log.level: "loud" is not valid (one of debug, info, warn, error)`},
		{"long socket", edit("name: host1", "name: host1\nrun_dir: /"+strings.Repeat("r", 100)), `2:10: run_dir: the socket /rrr`},
		{"advertise", edit("name: host1", "name: host1\nadvertise: 0.0.0.0:7700"), `2:12: advertise: "0.0.0.0:7700" names no host`},
		{"no role", "name: host1\n", `1:1: neither source nor target is given`},
		{"empty", "# nothing\n", `the file is empty`},
		{"two documents", sourceYAML + "---\nname: x\n", `a second document`},
		{"a list", "- a\n", `needs keys below it, has a list`},
		{"no bootstrap", targets("  cache: 64MiB\n"), `3:3: target.bootstrap: is missing`},
		{"bootstrap and join", targets("  join: [\"t2:7700\"]\n  bootstrap: [{name: t1, address: \"t1:7700\"}]\n"), `3:9: target.join: is given, and target.bootstrap too`},
		{"join", targets("  join: [t2]\n"), `3:10: target.join[0]: "t2" is not HOST:PORT`},
		{"domain", targets("  domain: a/b\n  join: [\"t2:7700\"]\n"), `3:11: target.domain: "a/b" is not valid`},
		{"not itself", targets("  bootstrap: [{name: t2, address: \"t2:7700\"}]\n"), `3:14: target.bootstrap: does not list this node, "t1"`},
		{"other address", targets("  bootstrap: [{name: t1, address: \"t1:7701\"}]\n"), `is t1:7701, but advertise is t1:7700`},
		{"owner timeout", targets("  owner_timeout: 1ms\n  bootstrap: [{name: t1, address: \"t1:7700\"}]\n"), `3:18: target.owner_timeout: 1ms is out of range (500ms to 5m0s)`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.yaml))
			var fs Faults
			if !errors.As(err, &fs) {
				t.Fatalf("got %v", err)
			}
			if len(fs) != 1 || !strings.Contains(fs[0].String(), tc.want) {
				t.Errorf("got  %v\nwant one fault with %q", err, tc.want)
			}
			if !errors.Is(err, redoubt.ErrInvalid) {
				t.Error("does not wrap ErrInvalid")
			}
		})
	}
}

func TestAllFaultsAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(path, []byte("nam: x\nlisten: 7700\nsource:\n  targets: []\n  groups:\n    - name: a\n      memory: lots\n      disk: []\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Load(path)
	var fs Faults
	if !errors.As(err, &fs) {
		t.Fatalf("got %v", err)
	}
	// That name and disks are missing is explained by nam and disk.
	want := []string{
		"1:1: nam: unknown key (did you mean name?)",
		"2:9: listen: \"7700\" is not HOST:PORT", "4:12: source.targets: is missing",
		"7:15: source.groups[0].memory: \"lots\" is not valid", "8:7: source.groups[0].disk: unknown key (did you mean disks?)",
	}
	got := err.Error()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("no %q in\n%s", w, got)
		}
	}
	if len(fs) != len(want) {
		t.Errorf("%d faults, want %d:\n%s", len(fs), len(want), got)
	}
	for i := 1; i < len(fs); i++ {
		if fs[i].Line < fs[i-1].Line {
			t.Errorf("not in the order of the file:\n%s", got)
		}
	}
}

func TestLoadMissing(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none"))
	if !errors.Is(err, redoubt.ErrNotFound) || redoubt.Hint(err) == "" {
		t.Errorf("got %v, hint %q", err, redoubt.Hint(err))
	}
}

// The examples that are shipped must be accepted as they stand.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../packaging/examples/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("found %d examples (%v), want at least 4", len(files), err)
	}
	for _, f := range files {
		if _, err := Load(f); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Whatever the bytes are: no panic, and an accepted file breaks no rule.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sourceYAML))
	f.Add([]byte("a: {b: [c, *d]}\n---\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if c, err := Parse(b); err == nil {
			if fs := Check(c); len(fs) > 0 {
				t.Errorf("accepted, but: %v", fs)
			}
		}
	})
}

// Every key has a line in the reference.
func TestEveryKeyIsDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/CONFIG.md")
	if err != nil {
		t.Fatal(err)
	}
	var walk func(t reflect.Type, key string) []string
	walk = func(ty reflect.Type, key string) []string {
		switch ty.Kind() {
		case reflect.Pointer:
			return walk(ty.Elem(), key)
		case reflect.Slice:
			return walk(ty.Elem(), key+"[]")
		case reflect.Struct:
			var out []string
			for i := range ty.NumField() {
				out = append(out, walk(ty.Field(i).Type, join(key, ty.Field(i).Tag.Get("yaml")))...)
			}
			return out
		}
		return []string{key}
	}
	keys := walk(reflect.TypeFor[Config](), "")
	if len(keys) < 25 {
		t.Fatalf("found only %v", keys)
	}
	for _, k := range keys {
		if !strings.Contains(string(doc), "| `"+k+"` |") {
			t.Errorf("docs/CONFIG.md has no line for %s", k)
		}
	}
}
