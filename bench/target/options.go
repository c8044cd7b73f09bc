package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

type options struct {
	bin, dir string
	mib      int64
	rounds   int
	reads    int      // each way, of each round's point
	jobs     []string // of jobNames
	back     bool     // read back, too
	tree     string   // real files for the file system
	treeMib  int64    // MiB of them
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o, os.Stdout)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, error) {
	var o options
	fs := flag.NewFlagSet("target", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of redoubt and redoubtd")
	fs.StringVar(&o.dir, "dir", "", "folder on the file system to measure (default: a new one under the temporary folder)")
	fs.Int64Var(&o.mib, "mib", 1024, "MiB of incompressible data of each measurement")
	fs.IntVar(&o.rounds, "rounds", 3, "rounds; what is compared takes turns in each")
	jobs := fs.String("jobs", strings.Join(jobNames(), ","), "what is taken in")
	fs.StringVar(&o.tree, "tree", "/usr", "folder of real files for the ext4 image")
	fs.Int64Var(&o.treeMib, "tree-mib", 1024, "MiB of these files, the first in the order of their names")
	fs.IntVar(&o.reads, "reads", 1, "how often each round's point is read back in each way")
	fs.BoolVar(&o.back, "back", true, "read a point back, too")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	o.jobs = strings.Split(*jobs, ",")
	for _, j := range o.jobs {
		if !slices.Contains(jobNames(), j) {
			return o, fmt.Errorf("-jobs: %q is none of %q", j, jobNames())
		}
	}
	if o.mib < 64 || o.treeMib < 1 || o.rounds < 1 || o.reads < 1 || fs.NArg() > 0 {
		return o, fmt.Errorf("at least 64 MiB, one of the tree, one round and one reading, and nothing after the flags: %q", fs.Args())
	}
	var err error
	o.bin, err = filepath.Abs(o.bin)
	return o, err
}
