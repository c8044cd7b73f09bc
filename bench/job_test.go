package main

import (
	"regexp"
	"strings"
	"testing"
)

// The job files are what the table of targets asks for.
func TestJobFilesHoldTheTable(t *testing.T) {
	jobs, err := readJobs("jobs", regexp.MustCompile(""))
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) != 14 {
		t.Errorf("%d job files, want 14", len(jobs))
	}
	for _, j := range jobs {
		if strings.Contains(j.text, "rw=randw") || strings.Contains(j.text, "rw=write") {
			if !j.writes() {
				t.Errorf("%s writes without end_fsync=1", j.name)
			}
		}
		if !strings.Contains(j.text, "["+j.name+"]") || j.title == "" {
			t.Errorf("%s: section or title does not fit", j.name)
		}
		var rivals []string
		for _, g := range j.targets {
			rivals = append(rivals, g.Rival)
		}
		if got := strings.Join(rivals, " "); got != "loop-direct loop-buffered nbdkit-file" {
			t.Errorf("%s has targets for %q", j.name, got)
		}
		if (j.disk == diskLong) != (j.twoDisks != nil) {
			t.Errorf("%s: the long rows, and only they, ask for more with two disks", j.name)
		}
	}
}

func TestParseJob(t *testing.T) {
	j, err := parseJob("x", "# A title\n; target a>=1.5 b>=2\n; target-two-disks a>=3\n; disk sparse\n; journal 7MiB/s\n; loop numjobs=16 iodepth=1\n[x]\nrw=write\n")
	if err != nil {
		t.Fatal(err)
	}
	if j.title != "A title" || j.disk != diskSparse || j.journal != 7 || len(j.loop) != 2 {
		t.Errorf("%+v", j)
	}
	if g := j.goals(false); len(g) != 2 || g[0] != (goal{"a", 1.5}) {
		t.Errorf("goals %v", g)
	}
	if g := j.goals(true); len(g) != 1 || g[0].Min != 3 {
		t.Errorf("goals with two disks %v", g)
	}
	for _, bad := range []string{"; target a>1", "; target a>=x", "; disk round", "; what 1", "; journal much"} {
		if _, err := parseJob("x", bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}
