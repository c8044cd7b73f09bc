package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/pki"
)

// app is what all commands share: the global flags and where output goes.
type app struct {
	server, socket, identity string
	timeout                  time.Duration
	json                     bool
	out, err                 io.Writer
	started                  bool // a command's own code ran: an error is no usage error
	asked                    bool // a node was asked: it may go on with that
}

// runE wraps the code of a command, so that its errors are told apart from
// cobra's about flags and arguments.
func (a *app) runE(fn func(c *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, args []string) error {
		if err := nothingEmpty(c, args); err != nil {
			return err
		}
		a.started = true
		return fn(c, args)
	}
}

// nothingEmpty refuses empty arguments and flags: they come from a variable that
// is not set, and would mean the latest point, or everything.
func nothingEmpty(c *cobra.Command, args []string) (err error) {
	const hint = "is a variable not set? leave it out for the default"
	for i, s := range args {
		if s == "" {
			return usage(c, hint, "argument %d is empty", i+1)
		}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" {
			err = usage(c, hint, "--%s is empty", f.Name)
		}
	})
	return err
}

// dial returns a client of the node that the flags name.
func (a *app) dial() (*admin.Client, error) {
	a.asked = true
	target := a.server
	if a.socket != "" {
		target = "unix:" + a.socket
	}
	need, err := admin.NeedsIdentity(target)
	if err != nil {
		return nil, err
	}
	if !need {
		return admin.Dial(target, nil)
	}
	cred, err := pki.Load(a.identity)
	if err != nil {
		return nil, err
	}
	return admin.Dial(target, cred)
}

// ask makes one call and returns its answer; long calls show that they are
// under way.
func ask[Req, Resp any](ctx context.Context, a *app, call func(*admin.Client, context.Context, Req) (Resp, error), req Req) (Resp, error) {
	var none Resp
	c, err := a.dial()
	if err != nil {
		return none, err
	}
	defer c.Close()
	if a.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, a.timeout)
		defer cancel()
	}
	defer a.showPatience()()
	return call(c, ctx, req)
}

// show prints an answer: as JSON, or by the function text.
func (a *app) show(m proto.Message, text func(w io.Writer)) error {
	if a.json {
		return a.printMessage(m)
	}
	text(a.out)
	return nil
}

// findGroup returns the status of one group.
func (a *app) findGroup(ctx context.Context, group string) (*adminv1.GetStatusResponse, *adminv1.Group, error) {
	st, err := ask(ctx, a, (*admin.Client).GetStatus, &adminv1.GetStatusRequest{Group: group})
	if err != nil {
		return nil, nil, err
	}
	for _, g := range st.Groups {
		if g.Id == group {
			return st, g, nil
		}
	}
	return nil, nil, &redoubt.Error{Op: "find group", Object: group, Err: redoubt.ErrNotFound, Hint: "redoubt group list names the groups of the node"}
}

// args checks the number of arguments against names such as "GROUP" and
// "[ID]", which come last.
func args(names ...string) cobra.PositionalArgs {
	need := 0
	for _, n := range names {
		if !strings.HasPrefix(n, "[") {
			need++
		}
	}
	return func(c *cobra.Command, given []string) error {
		switch {
		case len(given) < need:
			return usage(c, "usage: "+c.UseLine(), "%s is missing", names[len(given)])
		case len(given) > len(names):
			return usage(c, "usage: "+c.UseLine(), "unexpected argument %q", given[len(names)])
		}
		return nil
	}
}

func optional(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}
