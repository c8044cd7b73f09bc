package plan

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
)

const shop = `version: 1
name: shop
node: t1
stages:
  - name: db
    pre:
      - {name: stop, script: stop.sh, node: host1, when: [planned]}
    groups:
      - name: orders
      - name: stock
        node: t2
    post:
      - {name: start, script: start.sh, args: [a, b], timeout: 1m}
      - {name: ask, confirm: "does it work?", when: [unplanned, planned]}
    cleanup:
      - {name: halt, script: halt.sh}
  - name: web
    groups:
      - {name: pages}
    post:
      - {name: dns, script: dns.sh, direction: failover, when: [planned, unplanned], on_error: stop}
      - {name: back, script: dns.sh, direction: failback}
`

// edit returns the plan with a piece of it replaced.
func edit(t *testing.T, old, by string) string {
	t.Helper()
	if !strings.Contains(shop, old) {
		t.Fatalf("%q is not in the plan", old)
	}
	return strings.Replace(shop, old, by, 1)
}

func parse(t *testing.T, text string) *Plan {
	t.Helper()
	p, err := Parse([]byte(text), nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func keys(steps []Step) (out []string) {
	for _, s := range steps {
		out = append(out, s.Key)
	}
	return out
}

func TestStepsByKindAndDirection(t *testing.T) {
	p := parse(t, shop)
	undo := []string{"web/close/pages", "db/cleanup/halt", "db/close/orders", "db/close/stock"}
	for _, tc := range []struct {
		kind catalog.RunKind
		dir  catalog.RunDirection
		want []string
	}{
		{catalog.RunTest, catalog.RunFailover, append([]string{"db/group/orders", "db/group/stock", "db/post/start", "web/group/pages"}, undo...)},
		{catalog.RunPlanned, catalog.RunFailover, append([]string{"db/pre/stop", "db/group/orders", "db/group/stock", "db/post/start", "db/post/ask", "web/group/pages", "web/post/dns"}, undo...)},
		{catalog.RunUnplanned, catalog.RunFailover, append([]string{"db/group/orders", "db/group/stock", "db/post/start", "db/post/ask", "web/group/pages", "web/post/dns"}, undo...)},
		{catalog.RunPlanned, catalog.RunFailback, []string{"db/pre/stop", "db/group/orders", "db/group/stock", "db/post/start", "db/post/ask", "web/group/pages", "web/post/back"}},
	} {
		if got := keys(p.Steps(tc.kind, tc.dir)); !reflect.DeepEqual(got, tc.want) {
			t.Errorf("%s %s:\n got %v\nwant %v", tc.kind, tc.dir, got, tc.want)
		}
	}
	var sizes []int
	for _, b := range Batches(p.Steps(catalog.RunTest, catalog.RunFailover)) {
		sizes = append(sizes, len(b))
	}
	if !reflect.DeepEqual(sizes, []int{2, 1, 1, 1, 1, 2}) {
		t.Errorf("batches of %v", sizes)
	}
	steps := p.Steps(catalog.RunPlanned, catalog.RunFailover)
	if steps[0].Node != "host1" || steps[1].Node != "t1" || steps[2].Node != "t2" || steps[0].Limit() != scriptTimeout || steps[3].Limit() != time.Minute {
		t.Errorf("%+v", steps)
	}
	dns, ask := steps[6], steps[4]
	if !dns.stops(catalog.RunUnplanned) || ask.stops(catalog.RunUnplanned) || !ask.stops(catalog.RunPlanned) {
		t.Error("what an error stops")
	}
}

func TestFaults(t *testing.T) {
	for _, tc := range []struct{ name, yaml, want string }{
		{"unknown key", edit(t, "    cleanup:", "    clean:"), `15:5: stages[0].clean: unknown key (did you mean cleanup?)`},
		{"group twice", edit(t, "name: pages", "name: stock"), `19:16: stages[1].groups[0].name: "stock" is there twice (first at stages[0].groups[1].name)`},
		{"stage twice", edit(t, "name: web", "name: db"), `17:11: stages[1].name: "db" is there twice`},
		{"action twice", edit(t, "name: ask", "name: start"), `14:16: stages[0].post[1].name: "start" is there twice`},
		{"version", edit(t, "version: 1", "version: 2"), `1:10: version: 2 is not supported`},
		{"no script, no question", edit(t, "script: halt.sh", "leave: true"), `16:9: stages[0].cleanup[0]: does nothing`},
		{"both", edit(t, "confirm: \"does it work?\"", "confirm: x, script: y"), `stages[0].post[1].confirm: is given, and script too`},
		{"a path", edit(t, "halt.sh", "../halt.sh"), `stages[0].cleanup[0].script: "../halt.sh" is not valid`},
		{"kind", edit(t, "[unplanned, planned]", "[unplaned]"), `stages[0].post[1].when[0]: "unplaned" is not valid (test, planned or unplanned)`},
		{"direction", edit(t, "direction: failback", "direction: back"), `"back" is not valid (failover or failback)`},
		{"never", edit(t, "direction: failback", "direction: failback, when: [test]"), `stages[1].post[1].when: the action never runs (a failback is always planned)`},
		{"limit", edit(t, "timeout: 1m", "timeout: 1ms"), `13:64: stages[0].post[0].timeout: 1ms is out of range (1s to 24h0m0s)`},
		{"no node", edit(t, "node: t1\n", ""), `is missing (the node whose script folder holds start.sh`},
		{"unattended", edit(t, "node: t1\n", "node: t1\nunattended: [unplanned]\n"), `15:30: stages[0].post[1].confirm: waits for an operator, but unplanned runs are unattended`},
		{"cleanup waits", edit(t, "script: halt.sh", "confirm: sure?"), `stages[0].cleanup[0].confirm: a cleanup waits for nobody`},
		{"confirm with a node", edit(t, "confirm: \"does it work?\"", "confirm: x, node: t1"), `stages[0].post[1].node: is for scripts`},
		{"script with operators", edit(t, "script: halt.sh", "script: halt.sh, operators: [ann]"), `operators: is for confirmations`},
		{"on error", edit(t, "on_error: stop", "on_error: panic"), `on_error: "panic" is not valid (stop or continue)`},
		{"empty stage", shop + "  - name: none\n", `23:5: stages[2]: does nothing`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Parse([]byte(tc.yaml), nil)
			var fs config.Faults
			if !errors.As(err, &fs) {
				t.Fatalf("got %v", err)
			}
			if !strings.Contains(fs[0].String(), tc.want) {
				t.Errorf("got  %v\nwant %q", err, tc.want)
			}
		})
	}
	if _, err := Parse([]byte("version: 1\nname: p\nstages: []\n"), nil); err == nil {
		t.Error("a plan without stages")
	}
	if _, err := Parse([]byte("version: 1\nname: p\nstages: [{name: a, pre: [{name: x, script: y, node: t1}]}]\n"), nil); err == nil {
		t.Error("a plan without groups")
	}
}

// All that does not fit the sites is said at once, where it stands.
func TestFaultsOfTheWorld(t *testing.T) {
	w := &World{Groups: []string{"orders", "pages"}, Targets: []string{"t1", "t3"}, Sources: []string{"host2"},
		Scripts: map[ScriptAt]error{{"t1", "halt.sh"}: &redoubt.Error{Op: "find script", Object: "halt.sh", Err: redoubt.ErrNotFound, Hint: "put it there"}}}
	_, err := Parse([]byte(shop), w)
	want := []string{
		`7:45: stages[0].pre[0].node: there is no node "host1" (nodes: t1, t3, host2)`,
		`10:15: stages[0].groups[1].name: there is no group "stock" (groups: orders, pages)`,
		`11:15: stages[0].groups[1].node: there is no master target "t2" (master targets: t1, t3)`,
		`16:30: stages[0].cleanup[0].script: at t1: find script halt.sh: not found (put it there)`,
	}
	var fs config.Faults
	if !errors.As(err, &fs) || len(fs) != len(want) {
		t.Fatalf("got %v", err)
	}
	for i, f := range fs {
		if f.String() != want[i] {
			t.Errorf("got %q, want %q", f, want[i])
		}
	}
	w = &World{Groups: []string{"orders", "pages", "stock"}, Targets: []string{"t1", "t2"}, Sources: []string{"host1"}}
	if _, err := Parse([]byte(shop), w); err != nil {
		t.Error(err)
	}
	if got := fmt.Sprint(parse(t, shop).Scripts()); got != "[{host1 stop.sh} {t1 start.sh} {t1 halt.sh} {t1 dns.sh}]" {
		t.Error(got)
	}
}

func TestPredict(t *testing.T) {
	p := parse(t, shop)
	s := func(kind catalog.RunKind, seconds ...int) (out []catalog.Timing) {
		for _, n := range seconds {
			out = append(out, catalog.Timing{Kind: kind, Took: time.Duration(n) * time.Second})
		}
		return out
	}
	took := map[string][]catalog.Timing{
		"db/group/orders": s(catalog.RunUnplanned, 2, 9, 3),
		"db/group/stock":  s(catalog.RunUnplanned, 4, 1, 4),
		"db/post/start":   append(s(catalog.RunTest, 100), s(catalog.RunUnplanned, 20)...),
		"db/post/ask":     s(catalog.RunUnplanned, 600),
		"web/group/pages": s(catalog.RunTest, 1),
	}
	e := Predict(p, catalog.RunUnplanned, catalog.RunFailover, took)
	// orders and stock at once; nobody counts how long people take; dns.sh was never measured.
	if want := (4 + 20 + 1 + 600) * time.Second; e.Expected != want {
		t.Errorf("expected %s, want %s", e.Expected, want)
	}
	if want := (9 + 20 + 1 + 600) * time.Second; e.Worst != want {
		t.Errorf("worst %s, want %s", e.Worst, want)
	}
	var assumes []string
	for _, se := range e.Steps {
		assumes = append(assumes, se.Assumes)
	}
	want := []string{"", "", "", "the time that people take is not counted", "as long as in runs of another kind", "never measured: its whole time limit"}
	if !reflect.DeepEqual(assumes, want) {
		t.Errorf("assumes %q", assumes)
	}
}

// Every key of a plan has a line in the reference, and every example there and
// in packaging is read as it stands.
func TestReference(t *testing.T) {
	b, err := os.ReadFile("../docs/PLANS.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	n := 0
	var walk func(ty reflect.Type, key string)
	walk = func(ty reflect.Type, key string) {
		for ty.Kind() == reflect.Pointer || ty.Kind() == reflect.Slice {
			if ty.Kind() == reflect.Slice {
				key += "[]"
			}
			ty = ty.Elem()
		}
		if ty.Kind() == reflect.Struct {
			for i := range ty.NumField() {
				walk(ty.Field(i).Type, strings.TrimPrefix(key+"."+ty.Field(i).Tag.Get("yaml"), "."))
			}
			return
		}
		// The three lists of actions have the same keys.
		key = regexp.MustCompile(`\.(pre|post|cleanup)\[\]`).ReplaceAllString(key, ".ACTIONS[]")
		n++
		if !strings.Contains(doc, "| `"+key+"` |") {
			t.Errorf("docs/PLANS.md has no line for %s", key)
		}
	}
	walk(reflect.TypeFor[Plan](), "")
	if n < 20 {
		t.Errorf("found %d keys only", n)
	}
	blocks := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(doc, -1)
	files, err := filepath.Glob("../packaging/plans/*.yaml")
	if err != nil || len(blocks) == 0 || len(files) == 0 {
		t.Fatalf("%d examples in the reference, %d files, %v", len(blocks), len(files), err)
	}
	for _, m := range blocks {
		if _, err := Parse([]byte(m[1]), nil); err != nil {
			t.Errorf("an example of docs/PLANS.md: %v\n%s", err, m[1])
		}
	}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Parse(b, nil); err != nil {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// Whatever the text is: no panic, no endless list, and what is accepted has steps with different keys.
func FuzzParse(f *testing.F) {
	f.Add([]byte(shop))
	f.Add([]byte("version: 1\nname: p\nstages: [{name: a, groups: [{name: g}]}]\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Parse(b, &World{Groups: []string{"orders"}})
		if err != nil {
			return
		}
		seen := map[string]bool{}
		for _, s := range p.Steps(catalog.RunPlanned, catalog.RunFailover) {
			if seen[s.Key] || len(s.Key) > catalog.MaxStepKey {
				t.Errorf("step %q", s.Key)
			}
			seen[s.Key] = true
		}
	})
}

// A plan may come from a peer that may do nothing else than ask what is wrong with it.
func TestSizeIsBounded(t *testing.T) {
	long := append([]byte(shop), bytes.Repeat([]byte("# more\n"), catalog.MaxPlanText/7)...)
	if _, err := Parse(long, nil); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("Parse: %v", err)
	}
	if p, err := Read(long); !errors.Is(err, redoubt.ErrInvalid) || p == nil {
		t.Errorf("Read: %v, %v", p, err)
	}
}
