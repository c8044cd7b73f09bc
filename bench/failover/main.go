package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

type options struct {
	bin, dir string
	disks    []uint64 // GiB
	backlogs []uint64 // MiB
	opens    int
}

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		err = run(ctx, o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func parse(args []string) (o options, err error) {
	var disks, backlogs string
	fs := flag.NewFlagSet("failover", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of redoubt and redoubtd")
	fs.StringVar(&o.dir, "dir", "", "folder for disks and nodes (default: a new one under the temporary folder)")
	fs.StringVar(&disks, "disk-gib", "1,1024,8192", "sizes of the disk in GiB; the image is sparse")
	fs.StringVar(&backlogs, "backlog-mib", "0,64,256", "what is written in a hurry just before a failover, in MiB")
	fs.IntVar(&o.opens, "opens", 10, "test failovers of each row")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	var err1, err2, err3 error
	o.disks, err1 = numbers(disks)
	o.backlogs, err2 = numbers(backlogs)
	o.bin, err3 = filepath.Abs(o.bin)
	if o.opens < 1 || fs.NArg() > 0 {
		err1 = errors.Join(err1, fmt.Errorf("at least one open, and nothing after the flags: %q", fs.Args()))
	}
	return o, errors.Join(err1, err2, err3)
}

func numbers(list string) (out []uint64, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
		if err != nil {
			return nil, fmt.Errorf("%q is not a list of numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}

func run(ctx context.Context, o options) error {
	fmt.Println("| disk GiB | backlog MiB | test failover to first write, ms p50 | max | planned failover to first write, ms | nobody could write, ms | by redoubtd's own account | unplanned failover to first write, ms | failback in all, s | nobody could write, ms | by redoubtd's own account |")
	fmt.Println("|---|---|---|---|---|---|---|---|---|---|---|")
	for _, size := range o.disks {
		for _, backlog := range o.backlogs {
			r, err := one(ctx, o, size<<30, backlog<<20)
			if err != nil {
				return fmt.Errorf("disk of %d GiB, backlog of %d MiB: %w", size, backlog, err)
			}
			fmt.Printf("| %d | %d | %.0f | %.0f | %.0f | %.0f | %d | %.0f | %.1f | %.0f | %d |\n", size, backlog, r.testP50, r.testMax,
				r.planned.first, r.planned.pause, r.planned.said, r.unplanned, r.failback, r.home.pause, r.home.said)
		}
	}
	return nil
}
