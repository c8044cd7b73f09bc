package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What users are told to type about certificates has the flags that it needs.
func TestCertificateCommandsAreWhole(t *testing.T) {
	issue := regexp.MustCompile("redoubt ca issue [^`\n]*--role [^`\n]*")
	n := 0
	for _, dir := range []string{"../../packaging", "../../README.md", "../../cmd/redoubtd", "../../internal/pki"} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			for _, m := range issue.FindAll(b, -1) {
				n++
				if !strings.Contains(string(m), "--name") {
					t.Errorf("%s: %s", path, m)
				}
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
	if n < 8 {
		t.Errorf("found %d only", n)
	}
}

// Every command and every flag has a place in the reference.
func TestEveryCommandIsDocumented(t *testing.T) {
	b, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	doc := string(b)
	n := 0
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if c.HasSubCommands() {
			return
		}
		n++
		if !strings.Contains(doc, "`"+c.CommandPath()) {
			t.Errorf("docs/CLI.md does not name %q", c.CommandPath())
		}
		c.LocalNonPersistentFlags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "help" && !strings.Contains(doc, "`--"+f.Name) {
				t.Errorf("docs/CLI.md does not name --%s of %q", f.Name, c.CommandPath())
			}
		})
	}
	root := newRoot(&app{out: io.Discard, err: io.Discard})
	walk(root)
	root.PersistentFlags().VisitAll(func(f *pflag.Flag) {
		if !strings.Contains(doc, "| `--"+f.Name) {
			t.Errorf("docs/CLI.md does not name the global flag --%s", f.Name)
		}
	})
	if n < 20 {
		t.Errorf("found %d commands only", n)
	}
}
