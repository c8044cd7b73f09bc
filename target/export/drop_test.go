package export

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// An instance whose deletion is interrupted is over all the same: it must not be
// opened again over what is left of its writes, and its pin must not stay.
func TestDropGoesOn(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "shop", "test-t1-1")
	s := Spec{Version: specVersion, Kind: KindTest, Group: "shop", ID: "test-t1-1"}
	if err := errors.Join(writeSpec(dir, s), os.Mkdir(filepath.Join(dir, "journal"), 0o700), os.WriteFile(filepath.Join(dir, "disk-1"), []byte("x"), 0o600)); err != nil {
		t.Fatal(err)
	}
	away := errors.New("no cluster")
	if err := drop(dir, s, func(*Spec) error { return away }); !errors.Is(err, away) {
		t.Fatal(err)
	}
	left, err := readSpec(dir)
	if es, _ := os.ReadDir(dir); err != nil || !left.Over || len(es) != 1 {
		t.Fatalf("%v are left of it, spec %+v, %v", es, left, err)
	}
	unpinned := ""
	if err := drop(dir, left, func(s *Spec) error { unpinned = s.ID; return nil }); err != nil || unpinned != s.ID {
		t.Fatalf("unpinned %q, %v", unpinned, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("the folder is there: %v", err)
	}
}

// What a crash left before there was a spec takes no room and no name.
func TestSweep(t *testing.T) {
	root := t.TempDir()
	whole, half := filepath.Join(root, "shop", "epoch-2"), filepath.Join(root, "shop", "test-t1-1")
	if err := errors.Join(writeSpec(whole, Spec{Version: specVersion}), os.MkdirAll(half, 0o700), os.WriteFile(filepath.Join(half, specFile+".new"), nil, 0o600), sweep(root)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without a spec: %v", err)
	}
	if _, err := readSpec(whole); err != nil {
		t.Errorf("with a spec: %v", err)
	}
}
