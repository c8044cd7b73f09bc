package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/config"
)

// A freeze script that would not run is said before the first freeze.
func TestCheckScripts(t *testing.T) {
	dir := t.TempDir()
	cfg := &config.Config{Source: &config.Source{Groups: []config.Group{{Name: "shop", Hooks: config.Hooks{Scripts: dir}}}}}
	if err := os.WriteFile(filepath.Join(dir, "10-db"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := checkScripts(cfg); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("10-db", filepath.Join(dir, "20-app")); err != nil {
		t.Fatal(err)
	}
	if err := checkScripts(cfg); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("a link is valid: %v", err)
	}
}
