package site

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// CommandError is a redoubt command that failed: what it was and what it said.
type CommandError struct {
	Args   []string
	Stderr string
	Err    error
}

// Error returns the command line and its messages.
func (e *CommandError) Error() string {
	return fmt.Sprintf("redoubt %s: %v: %s", strings.Join(e.Args, " "), e.Err, strings.TrimSpace(e.Stderr))
}

// Unwrap returns the cause: an *exec.ExitError as a rule.
func (e *CommandError) Unwrap() error { return e.Err }

// Run runs redoubt with these arguments and returns what it prints.
func (s *Site) Run(ctx context.Context, args ...string) (string, error) {
	b, err := s.output(ctx, args...)
	return string(b), err
}

// run runs redoubt and drops what it prints.
func (s *Site) run(ctx context.Context, args ...string) error {
	_, err := s.output(ctx, args...)
	return err
}

func (s *Site) output(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(s.BinDir, "redoubt"), args...)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return nil, &CommandError{Args: args, Stderr: stderr.String(), Err: errors.Join(ctx.Err(), err)}
	}
	return out.Bytes(), nil
}

// Call runs `redoubt --json ARGS` against a node and reads its answer into
// out, which may be nil.
func (s *Site) Call(ctx context.Context, n *Node, out proto.Message, args ...string) error {
	args = append([]string{"--json", "--socket", n.AdminSocket()}, args...)
	b, err := s.output(ctx, args...)
	if err != nil || out == nil {
		return err
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(b, out); err != nil {
		return fmt.Errorf("redoubt %s: answer is not the schema's: %w\n%.300s", strings.Join(args, " "), err, b)
	}
	return nil
}

// Status returns what a node knows of the group.
func (s *Site) Status(ctx context.Context, n *Node) (*adminv1.GetStatusResponse, *adminv1.Group, error) {
	st := &adminv1.GetStatusResponse{}
	if err := s.Call(ctx, n, st, "status"); err != nil {
		return nil, nil, err
	}
	for _, g := range st.Groups {
		if g.Id == s.Group {
			return st, g, nil
		}
	}
	return st, nil, fmt.Errorf("%s does not know the group %s", n.Name, s.Group)
}

// Wait asks a node for its status until ok accepts it; the group is nil while
// the node does not know it. The error after the
// patience is over names what was waited for, and the last reason.
func (s *Site) Wait(ctx context.Context, n *Node, patience time.Duration, what string,
	ok func(*adminv1.GetStatusResponse, *adminv1.Group) error) (*adminv1.Group, error) {
	deadline := time.Now().Add(patience)
	for {
		st, g, err := s.Status(ctx, n)
		if err == nil || g == nil && st != nil {
			if err = ok(st, g); err == nil {
				return g, nil
			}
		}
		if dead := n.Check(); dead != nil {
			return nil, dead
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return nil, fmt.Errorf("waited %s for: %s: %w", patience, what, errors.Join(ctx.Err(), err))
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond): // the operator's view can only be polled
		}
	}
}

// AnyTarget returns a target whose process runs.
func (s *Site) AnyTarget() (*Node, error) {
	for _, t := range s.Targets {
		if t.Alive() {
			return t, nil
		}
	}
	return nil, errors.New("no target is alive")
}

// Node returns the node of this name.
func (s *Site) Node(name string) (*Node, error) {
	for _, n := range s.Nodes() {
		if n.Name == name {
			return n, nil
		}
	}
	return nil, fmt.Errorf("no node %q", name)
}
