package service

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// What another node says of the environment reaches a script as far as docs/PLANS.md
// lists it: a name such as BASH_ENV would make the script run something else.
func TestAScriptOfAPlanTakesNothingElseFromItsEnvironment(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "say"), []byte("#!/bin/bash\necho $REDOUBT_RUN\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	s := New(Node{Name: "s1", Scripts: dir}, nil, nil)
	ctx := admin.WithPeer(t.Context(), admin.Peer{Role: pki.RoleTarget, Name: "t1"})
	run := func(env ...string) (*adminv1.RunPlanScriptResponse, error) {
		return s.RunPlanScript(ctx, &adminv1.RunPlanScriptRequest{Run: "p/1", Step: "a/pre/b", Script: "say", Env: env, Limit: durationpb.New(time.Minute)})
	}
	if r, err := run("REDOUBT_RUN=p/1"); err != nil || r.Error != "" || string(r.Output) != "p/1\n" {
		t.Fatalf("%v, %v", r, err)
	}
	planted := filepath.Join(dir, "planted")
	for _, bad := range []string{"BASH_ENV=/dev/null", "BASH_FUNC_echo%%=() { : >" + planted + "; }", "PATH=/tmp", "LD_PRELOAD=/x.so", "REDOUBT_RUN", "REDOUBT_x%%=() { :; }", "=x", "REDOUBT_RUN=a\x00b"} {
		r, err := run("REDOUBT_RUN=p/1", bad)
		if !errors.Is(err, redoubt.ErrDenied) || r != nil {
			t.Errorf("%q: %v, %v", strings.ReplaceAll(bad, "\x00", "?"), r, err)
		}
	}
	if _, err := os.Stat(planted); err == nil {
		t.Error("a caller's text was run")
	}
}
