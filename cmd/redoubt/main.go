// Command redoubt is the operator's command: it asks a redoubtd over its admin
// RPC, makes certificates, and reads journals and shard logs offline. Every
// command stands in docs/CLI.md.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	a := &app{out: os.Stdout, err: os.Stderr}
	root := newRoot(a)
	err := root.ExecuteContext(ctx)
	return a.finish(ctx, err)
}
