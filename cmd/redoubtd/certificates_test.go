package main

import (
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// A restart in place must not give up a certificate that is valid for one that
// has expired, or is for somebody else.
func TestCheckCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, mine := filepath.Join(dir, "ca"), filepath.Join(dir, "mine")
	if err := errors.Join(pki.InitCA(ca, "test", 24*time.Hour), pki.Issue(ca, mine, pki.Identity{Role: pki.RoleTarget, Name: "t1"}, nil, time.Hour)); err != nil {
		t.Fatal(err)
	}
	now, cfg := time.Now(), &config.Config{Name: "t1", Identity: mine, Target: &config.Target{}}
	if err := checkCertificate(cfg, now); err != nil {
		t.Error(err)
	}
	if err := checkCertificate(cfg, now.Add(2*time.Hour)); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("expired: %v", err)
	}
	if err := checkCertificate(cfg, now.Add(-2*time.Hour)); !errors.Is(err, redoubt.ErrInvalid) {
		t.Errorf("not valid yet: %v", err)
	}
	cfg.Name = "t2"
	if err := checkCertificate(cfg, now); !errors.Is(err, redoubt.ErrDenied) {
		t.Errorf("of another node: %v", err)
	}
}
