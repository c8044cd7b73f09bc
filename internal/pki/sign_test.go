package pki

import (
	"bytes"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/redoubt-dr/redoubt"
)

func TestSignaturesAreOfOneTextOneSignerAndOneTime(t *testing.T) {
	dir := t.TempDir()
	caDir, other := filepath.Join(dir, "ca"), filepath.Join(dir, "other")
	for _, d := range []string{caDir, other} {
		if err := InitCA(d, "test", 24*time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	id := Identity{Role: RoleTarget, Name: "t1"}
	if err := Issue(caDir, filepath.Join(dir, "t1"), id, nil, time.Hour); err != nil {
		t.Fatal(err)
	}
	c, err := Load(filepath.Join(dir, "t1"))
	if err != nil {
		t.Fatal(err)
	}
	text := []byte("all is well")
	s, err := c.Sign("receipt", text)
	if err != nil {
		t.Fatal(err)
	}
	ca, now := filepath.Join(caDir, CACertFile), time.Now()
	if got, err := VerifySignature(ca, "receipt", text, s, now); err != nil || got != id {
		t.Errorf("signed by %v, %v", got, err)
	}
	flip := func(b []byte, i int) []byte {
		out := bytes.Clone(b)
		out[i] ^= 1
		return out
	}
	for name, err := range map[string]error{
		"text":      second(VerifySignature(ca, "receipt", flip(text, 3), s, now)),
		"context":   second(VerifySignature(ca, "another", text, s, now)),
		"signature": second(VerifySignature(ca, "receipt", text, Signature{s.Certificate, flip(s.Value, 20)}, now)),
		"authority": second(VerifySignature(filepath.Join(other, CACertFile), "receipt", text, s, now)),
		"too late":  second(VerifySignature(ca, "receipt", text, s, now.Add(2*time.Hour))),
		"nobody":    second(VerifySignature(ca, "receipt", text, Signature{nil, s.Value}, now)),
	} {
		if !errors.Is(err, redoubt.ErrDenied) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second(_ Identity, err error) error { return err }
