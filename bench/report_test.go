package main

import (
	"strings"
	"testing"
)

func TestSummaryIsMedianSpreadAndRatio(t *testing.T) {
	r := &results{Options: map[string]any{}}
	for _, v := range []float64{30, 10, 20} {
		r.add("j", "redoubt", measurement{IOPS: v})
	}
	for _, v := range []float64{5, 15} {
		r.add("j", "loop", measurement{IOPS: v})
	}
	r.summarise()
	own, loop := r.cell("j", "redoubt"), r.cell("j", "loop")
	if own.Median.IOPS != 20 || own.Spread != 1 || own.Ratio != 1 {
		t.Errorf("redoubt: %+v", own)
	}
	if loop.Median.IOPS != 10 || loop.Ratio != 2 {
		t.Errorf("loop: %+v", loop)
	}
	if md := r.markdown(); !strings.Contains(md, "| j | loop | 10 |") || !strings.Contains(md, "| 2.00 |") {
		t.Errorf("table:\n%s", md)
	}
}

// The job files are what the table claims to measure.
func TestJobFilesSyncWhatTheyWrite(t *testing.T) {
	jobs, err := readJobs("jobs")
	if err != nil {
		t.Fatal(err)
	}
	if len(jobs) < 5 {
		t.Fatalf("%d job files, want at least 5", len(jobs))
	}
	for _, j := range jobs {
		if strings.Contains(j.text, "write\n") && !strings.Contains(j.text, "end_fsync=1") {
			t.Errorf("%s writes without end_fsync=1", j.name)
		}
	}
}
