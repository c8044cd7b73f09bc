package pki

import (
	"bytes"
	"context"
	"crypto/tls"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// replace puts the files of another folder in place, as an operator would.
func replace(t *testing.T, dir, by string, files ...string) {
	t.Helper()
	for _, f := range files {
		b, err := os.ReadFile(filepath.Join(by, f))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, f+".new"), b, 0o600)
		}
		if err == nil {
			err = os.Rename(filepath.Join(dir, f+".new"), filepath.Join(dir, f))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

func issued(t *testing.T, ca string, id Identity, now time.Time) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "node")
	if err := issue(ca, dir, id, nil, now, time.Minute); err != nil {
		t.Fatal(err)
	}
	return dir
}

var allFiles = []string{NodeCertFile, NodeKeyFile, CACertFile}

// TestFollow replaces the files under one listening configuration.
func TestFollow(t *testing.T) { synctest.Test(t, follow) }

func follow(t *testing.T) {
	now := time.Now()
	first, second := authority(t), authority(t)
	host, vm := Identity{RoleSource, "host1"}, Identity{RoleClient, "vm1"}
	dir := issued(t, first, host, now)
	c, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	server := c.ServerTLS() // one for the whole life of a listener
	client := func(ca string) *tls.Config {
		cred, err := Load(issued(t, ca, vm, now))
		if err != nil {
			t.Fatal(err)
		}
		return cred.ClientTLS("", RoleSource)
	}
	old, young := client(first), client(second)
	expect := func(what string, cfg *tls.Config, want bool) {
		t.Helper()
		_, serr, cerr := shake(t, server, cfg)
		if got := serr == nil && cerr == nil; got != want {
			t.Errorf("%s: let in %v, want %v: %v, %v", what, got, want, serr, cerr)
		}
	}
	var log bytes.Buffer
	tick := make(chan time.Time)
	ctx, cancel := context.WithCancel(t.Context())
	go c.Follow(ctx, tick, slog.New(slog.NewTextHandler(&log, nil)))
	look := func() { tick <- now; synctest.Wait() } // until Follow waits for the next tick
	said := func(s string, times int) {
		t.Helper()
		if n := strings.Count(log.String(), s); n != times {
			t.Errorf("%q was said %d times, want %d:\n%s", s, n, times, log.String())
		}
	}
	const kept, taken = "the old one stays in use", "certificate reloaded"

	look()
	expect("unchanged", old, true)
	expect("unchanged", young, false)
	said(kept, 0)
	said(taken, 0)

	for name, broken := range map[string]string{
		"another's":       issued(t, second, Identity{RoleSource, "host2"}, now),
		"of another role": issued(t, second, Identity{RoleTarget, "host1"}, now),
		"expired":         issued(t, second, host, now.Add(-30*time.Minute)),
	} {
		log.Reset()
		replace(t, dir, broken, allFiles...)
		look()
		look()
		expect(name, old, true)
		expect(name, young, false)
		said(kept, 1)
	}
	log.Reset()
	if err := os.WriteFile(filepath.Join(dir, NodeCertFile), []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	look()
	expect("garbage", old, true)
	good := issued(t, second, host, now)
	replace(t, dir, good, NodeCertFile) // and the key of the one before
	look()
	expect("half way", old, true)
	said(kept, 2)
	said(taken, 0)

	replace(t, dir, good, allFiles...)
	look()
	expect("new authority", young, true)
	expect("new authority", old, false)
	said(taken, 1)
	if _, err := c.Reload(now.Add(time.Hour)); err != nil {
		t.Errorf("what is in use has expired, but nothing has changed: %v", err)
	}
	cancel()
}
