package catalog

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

//go:generate go test -run ^TestStatesAreDocumented$ -args -write

var write = flag.Bool("write", false, "write docs/STATES.md instead of comparing it")

// docs/STATES.md is made from the table, so it cannot say anything else.
func TestStatesAreDocumented(t *testing.T) {
	const path = "../../docs/STATES.md"
	want := statesDoc()
	if *write {
		if err := os.WriteFile(path, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		t.Errorf("docs/STATES.md is not what the table says (%v): go generate ./cluster/catalog", err)
	}
	for _, s := range States() {
		if s.Meaning() == "" {
			t.Errorf("%s has no meaning", s)
		}
	}
	for _, o := range Operations() {
		if o.Meaning() == "" {
			t.Errorf("%s has no meaning", o)
		}
	}
}

func statesDoc() string {
	var b strings.Builder
	b.WriteString(`# States and operations

Made from the transition table in cluster/catalog/transitions.go by ` + "`go generate ./cluster/catalog`" + `; a test fails when it is stale. The same table decides what the catalog
accepts and what ` + "`redoubt group show`" + ` lists as allowed. Whatever it does not list is refused with ` + "`state`" + ` and changes nothing.

| State | Meaning |
|---|---|
`)
	for _, s := range States() {
		fmt.Fprintf(&b, "| %s | %s |\n", s, s.Meaning())
	}
	b.WriteString("\n| Operation | Command | What it does |\n|---|---|---|\n")
	for _, o := range Operations() {
		command := ""
		if c := o.Command(); c != "" {
			command = "`" + c + "`"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", o, command, o.Meaning())
	}
	b.WriteString(`
## What is allowed, and where it leads

| State | Operation | leads to |
|---|---|---|
`)
	for _, s := range States() {
		for _, tr := range Transitions(s) {
			fmt.Fprintf(&b, "| %s | %s | %s |\n", s, tr.Op, destination(s, tr))
		}
	}
	b.WriteString(`
- A paused group does what the state allows in which it was paused, and nothing else; Resume leads back there.
- TestFailover, PlannedFailover and UnplannedFailover need a recovery point: without one they are refused in any state.
- UnplannedFailover from ReverseReplicating would give production to the primary although the secondary is lost. The catalog accepts it; no command asks for it yet.
- InitialSync and Resyncing become Protected by themselves when the copy is whole, also under a pause.
- After a cancelled failover a group is what it was before, but for a pause: it goes on.
`)
	return b.String()
}

func destination(s State, tr Transition) string {
	next := tr.Next.String()
	switch {
	case tr.Next == s:
		next = "(stays)"
	case tr.Next == StateNone:
		next = "where it came from"
	}
	if tr.WithPoints != StateNone {
		next += ", or " + tr.WithPoints.String() + " if there are points"
	}
	return next
}
