package main

import (
	"errors"
	"flag"
	"fmt"
	"path/filepath"
	"regexp"
	"syscall"
)

// options are the command's flags.
type options struct {
	bin, dir, journalDir, jobs, results string
	rounds, seconds, rpoSeconds         int
	size, long                          int64 // bytes of the disks
	rivals, match                       *regexp.Regexp
	replicate                           bool
	base                                string // revision to compare with; empty: bench
}

// parse reads the command line. -quick and -replicate change defaults only:
// what is given beside them holds.
func parse(args []string) (options, error) {
	var o options
	var quick bool
	var only, match string
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.StringVar(&o.bin, "bin", "bin", "folder of redoubt and redoubtd")
	fs.StringVar(&o.dir, "dir", "", "folder for disks on the file system to measure (default: a new one under the temporary folder)")
	fs.StringVar(&o.journalDir, "journal-dir", "", "folder on a second disk for redoubt's journal (default: beside the image, the hard case)")
	fs.StringVar(&o.jobs, "jobs", "bench/jobs", "folder of fio job files")
	fs.StringVar(&o.results, "results", "bench/results", "folder for the results")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds; rivals take turns in each")
	fs.IntVar(&o.seconds, "seconds", 3, "length of one measurement")
	fs.IntVar(&o.rpoSeconds, "rpo-seconds", 15, "with -replicate: length of a run at half rate")
	fs.Int64Var(&o.size, "mib", 512, "size of the disk in MiB")
	fs.Int64Var(&o.long, "long-mib", 4096, "size in MiB of the disk that the sequential rows write once from end to end")
	fs.BoolVar(&quick, "quick", false, "3 rounds of 2 s, long disk of 1 GiB")
	fs.StringVar(&only, "only", "", "only rivals whose name matches this expression")
	fs.StringVar(&match, "match", "", "only jobs whose name matches this expression")
	fs.BoolVar(&o.replicate, "replicate", false, "measure with replication to three targets on this machine, and the RPO")
	fs.StringVar(&o.base, "compare", "", "compare the working tree with this revision of git")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if quick {
		preset(given, "rounds", &o.rounds, 3)
		preset(given, "seconds", &o.seconds, 2)
	}
	if quick || o.replicate {
		preset(given, "long-mib", &o.long, 1024)
	}
	if o.rounds < 1 || o.seconds < 1 || o.rpoSeconds < 1 || o.size < 1 || o.long < 1 || fs.NArg() > 0 {
		return o, fmt.Errorf("rounds, seconds and sizes must be positive, and nothing may follow the flags: %q", fs.Args())
	}
	o.size, o.long = o.size<<20, o.long<<20
	var err1, err2 error
	o.rivals, err1 = regexp.Compile(only)
	o.match, err2 = regexp.Compile(match)
	return o, errors.Join(err1, err2)
}

func preset[T any](given map[string]bool, name string, p *T, v T) {
	if !given[name] {
		*p = v
	}
}

// absolute makes the folders absolute: daemons get them.
func (o *options) absolute() error {
	for _, p := range []*string{&o.bin, &o.dir, &o.journalDir} {
		if *p == "" {
			continue
		}
		abs, err := filepath.Abs(*p)
		if err != nil {
			return err
		}
		*p = abs
	}
	return nil
}

// twoDisks tells whether the journal has a device of its own: another folder
// of the same file system is still the hard case.
func (o options) twoDisks() bool {
	var a, b syscall.Stat_t
	return o.journalDir != "" && syscall.Stat(o.dir, &a) == nil && syscall.Stat(o.journalDir, &b) == nil && a.Dev != b.Dev
}
