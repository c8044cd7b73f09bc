package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

type options struct {
	bin, dir, out string
	keep          string
	within        time.Duration
	histories     []uint64 // segments
	disks         []uint64 // bytes
	opens         int
	ages          int      // reads at each age
	cost          []uint64 // GB
}

func parse(args []string) (options, error) {
	var o options
	var histories, disks, cost string
	fs := flag.NewFlagSet("rto", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of redoubt and redoubtd")
	fs.StringVar(&o.dir, "dir", "", "folder for the generated nodes; the longest history takes 5 GiB (default: a new one under the temporary folder)")
	fs.StringVar(&o.out, "out", "", "file for the table as JSON, beside the Markdown on standard output")
	fs.StringVar(&o.keep, "keep", "", "folder in which one history is generated and stays; it is used if it is there, and what is missing of it is made (with one -history and one -disk-gib)")
	fs.DurationVar(&o.within, "within", 0, "with -keep: stop generating after this time; the next call goes on")
	fs.StringVar(&histories, "history", "1000,10000,100000,1000000", "lengths of the history in segments")
	fs.StringVar(&disks, "disk-gib", "1,1024,16384", "sizes of the disk in GiB")
	fs.IntVar(&o.opens, "opens", 20, "points that are opened, half of them read first and half written first; 0 with -keep: generate only")
	fs.IntVar(&o.ages, "ages", 0, "instead: the latency of so many 4 KiB reads at points of several ages")
	fs.StringVar(&cost, "cost", "", "instead: what a byte costs beside itself in histories of so many GB, such as 1,10,100")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if cost != "" {
		var err error
		if o.cost, err = numbers(cost); err != nil {
			return o, err
		}
	}
	var err1, err2, err3 error
	o.histories, err1 = numbers(histories)
	o.disks, err2 = numbers(disks)
	o.bin, err3 = filepath.Abs(o.bin)
	if o.keep != "" {
		o.keep, err1 = absolute(o.keep, err1)
	}
	for i := range o.disks {
		o.disks[i] <<= 30
	}
	if o.keep != "" && len(o.histories)*len(o.disks) != 1 || o.keep == "" && o.within != 0 {
		err1 = errors.Join(err1, errors.New("-keep is for one history and one disk, -within for -keep"))
	}
	if o.opens < 2 && (o.opens != 0 || o.keep == "") || o.ages < 0 || fs.NArg() > 0 {
		err1 = errors.Join(err1, fmt.Errorf("at least two points, and nothing after the flags: %q", fs.Args()))
	}
	return o, errors.Join(err1, err2, err3)
}

func absolute(dir string, before error) (string, error) {
	abs, err := filepath.Abs(dir)
	return abs, errors.Join(before, err)
}

func numbers(list string) ([]uint64, error) {
	var out []uint64
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 32)
		if err != nil || n == 0 {
			return nil, fmt.Errorf("%q is not a list of numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}
