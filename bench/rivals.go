package main

import (
	"context"
	"fmt"
)

// rival is a way to serve a disk.
type rival struct {
	name  string
	start func(ctx context.Context, j job) (*target, error)
}

// target is a served disk: fio's engine lines and how to end it.
type target struct {
	engine []string
	loop   bool // a block device of the kernel
	stop   func() error
	lag    func(ctx context.Context) (seconds float64, err error) // nil: not replicated
	drain  func(ctx context.Context) error                        // waits until nothing is on its way
}

// skipError says that a rival cannot run here.
type skipError struct{ why string }

func (e *skipError) Error() string { return "skipped: " + e.why }

const (
	unreplicated = "redoubt"
	replicated   = "redoubt-replicated"
	ceiling      = "nbdkit-null"
)

// subject is the rival that the others are compared with.
func (o options) subject() string {
	if o.replicate {
		return replicated
	}
	return unreplicated
}

// rivalsOf returns those that the flags ask for. The subject always takes part.
func rivalsOf(o options) []rival {
	server := func(argv serverArgs) func(context.Context, job) (*target, error) {
		return func(ctx context.Context, j job) (*target, error) { return startServer(ctx, o, j, argv) }
	}
	loop := func(direct bool) func(context.Context, job) (*target, error) {
		return func(ctx context.Context, j job) (*target, error) { return startLoop(ctx, o, j, direct) }
	}
	all := []rival{
		{unreplicated, func(ctx context.Context, j job) (*target, error) { return startRedoubt(ctx, o, j, false) }},
		{"loop-buffered", loop(false)},
		{"loop-direct", loop(true)},
		{"nbdkit-file", server(nbdkitFile)},
		{"qemu-nbd", server(qemuNBD)},
		{"nbd-server", server(nbdServer)},
		{ceiling, server(nbdkitNull)},
	}
	if o.replicate {
		all = append([]rival{{replicated, func(ctx context.Context, j job) (*target, error) { return startRedoubt(ctx, o, j, true) }}}, all...)
	}
	var out []rival
	for _, r := range all {
		if r.name == o.subject() || o.rivals.MatchString(r.name) {
			out = append(out, r)
		}
	}
	return out
}

func nbdEngine(sock, export string) []string {
	return []string{"ioengine=nbd", fmt.Sprintf("uri=nbd+unix:///%s?socket=%s", export, sock)}
}
