package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// disk is the kind of image that a job runs on.
type disk string

const (
	diskFull   disk = "full"   // every block is written
	diskSparse disk = "sparse" // one hole
	diskLong   disk = "long"   // every block is written; longer than the caches; the job goes over it once
)

// job is a fio job file without the engine's lines. Its lines that begin with
// a semicolon are for the harness; fio takes them for comments.
type job struct {
	name, title string
	text        string
	disk        disk
	journal     int64    // MiB of journal per second that the fastest disk may need
	loop        []string // options for loop devices, after the file's
	targets     []goal   // with one disk
	twoDisks    []goal   // with the journal on another disk; empty: targets
}

// goal is a ratio that is asked for: the protected disk's figure divided by
// the rival's.
type goal struct {
	Rival string  `json:"rival"`
	Min   float64 `json:"min"`
}

// writes tells whether the job changes the disk.
func (j job) writes() bool { return strings.Contains(j.text, "end_fsync=1") }

// readJobs reads the job files whose names match.
func readJobs(dir string, match *regexp.Regexp) ([]job, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.fio"))
	if err != nil {
		return nil, err
	}
	var out []job
	for _, p := range paths {
		name := strings.TrimSuffix(filepath.Base(p), ".fio")
		if !match.MatchString(name) {
			continue
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		j, err := parseJob(name, string(b))
		if err != nil {
			return nil, fmt.Errorf("%s: %w", p, err)
		}
		out = append(out, j)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no job file in %s matches %q (run from the top of the tree)", dir, match)
	}
	return out, nil
}

func parseJob(name, text string) (j job, err error) {
	j = job{name: name, text: text, disk: diskFull, journal: 64}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if title, ok := strings.CutPrefix(line, "# "); ok && j.title == "" {
			j.title = title
		}
		tag, ok := strings.CutPrefix(line, "; ")
		if !ok {
			continue
		}
		key, rest, _ := strings.Cut(tag, " ")
		switch key {
		case "target":
			j.targets, err = parseGoals(rest)
		case "target-two-disks":
			j.twoDisks, err = parseGoals(rest)
		case "disk":
			j.disk = disk(rest)
			if j.disk != diskSparse && j.disk != diskLong {
				err = fmt.Errorf("no such disk")
			}
		case "journal":
			j.journal, err = strconv.ParseInt(strings.TrimSuffix(rest, "MiB/s"), 10, 64)
		case "loop":
			j.loop = strings.Fields(rest)
		default:
			err = fmt.Errorf("no such tag")
		}
		if err != nil {
			return j, fmt.Errorf("%q: %w", line, err)
		}
	}
	return j, nil
}

// parseGoals reads `RIVAL>=RATIO ...`.
func parseGoals(s string) ([]goal, error) {
	var out []goal
	for _, f := range strings.Fields(s) {
		rival, num, _ := strings.Cut(f, ">=")
		v, err := strconv.ParseFloat(num, 64)
		if err != nil || v <= 0 {
			return nil, fmt.Errorf("%q is not RIVAL>=RATIO", f)
		}
		out = append(out, goal{rival, v})
	}
	return out, nil
}

// goals returns what holds for a run.
func (j job) goals(twoDisks bool) []goal {
	if twoDisks && j.twoDisks != nil {
		return j.twoDisks
	}
	return j.targets
}
