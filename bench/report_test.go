package main

import (
	"strings"
	"testing"
)

// sample is a run of one job with made-up figures: redoubt 10, 20, 30 IOPS,
// a loop device half of it, nbdkit-file the same but for one round.
func sample() *results {
	r := &results{Options: map[string]any{}, Subject: unreplicated, jobs: []job{{name: "j", targets: []goal{{"loop-direct", 1.3}, {"nbdkit-file", 1.2}, {"nbd-server", 1}}}}}
	for i, v := range []float64{30, 10, 20} {
		r.add("j", "redoubt", measurement{IOPS: v, P50us: 5, P99us: 7})
		r.add("j", "loop-direct", measurement{IOPS: v / 2})
		r.add("j", "nbdkit-file", measurement{IOPS: []float64{30, 5, 20}[i]})
	}
	r.summarise()
	return r
}

func TestSummaryIsMedianSpreadAndRatio(t *testing.T) {
	r := sample()
	own, loop, kit := r.cell("j", "redoubt"), r.cell("j", "loop-direct"), r.cell("j", "nbdkit-file")
	if own.Median.IOPS != 20 || own.Spread != 1 || own.Ratio != 1 {
		t.Errorf("redoubt: %+v", own)
	}
	if loop.Median.IOPS != 10 || loop.Ratio != 2 || loop.Low != 2 || loop.High != 2 {
		t.Errorf("loop: %+v", loop)
	}
	if kit.Ratio != 1 || kit.Low != 1 || kit.High != 2 {
		t.Errorf("nbdkit: %+v", kit)
	}
	if md := r.markdown(""); !strings.Contains(md, "| j | redoubt | 20 | 0.0 | 5 | 7 | - | - | 100 % | 1.00 | 1.00 to 1.00 |") {
		t.Errorf("table:\n%s", md)
	}
}

func TestVerdicts(t *testing.T) {
	r := sample()
	md := r.markdown("")
	for _, want := range []string{
		"## Targets: 1 met, 1 missed, 1 not measured",
		"| j | loop-direct | >= 1.3 | 2.00 | 2.00 to 2.00 | - | met |",
		"| j | nbdkit-file | >= 1.2 | 1.00 | 1.00 to 2.00 | - | **missed** (rounds disagree) |",
		"| j | nbd-server | >= 1.0 | - | - | - | not measured |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
}

// What a server that does nothing cannot reach is missed in another way.
func TestVerdictAboveTheCeiling(t *testing.T) {
	r := sample()
	for range 3 {
		r.add("j", ceiling, measurement{IOPS: 22}) // 1.1 of nbdkit-file's 20
	}
	r.summarise()
	md := r.markdown("")
	for _, want := range []string{
		"| j | loop-direct | >= 1.3 | 2.00 | 2.00 to 2.00 | 2.20 | met |",
		"| j | nbdkit-file | >= 1.2 | 1.00 | 1.00 to 2.00 | 1.10 | missed (above the ceiling) (rounds disagree) |",
		"1 of the missed ones are above the ceiling",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
}

// With replication on, the figure is held against the disk's own without.
func TestVerdictsOfReplication(t *testing.T) {
	r := &results{Options: map[string]any{}, Subject: replicated, jobs: []job{{name: "j", targets: []goal{{"loop-direct", 9}}}}}
	r.add("j", replicated, measurement{IOPS: 40})
	r.add("j", unreplicated, measurement{IOPS: 100})
	r.RPO = []*rpo{{Job: "j", LimitIOPS: 20, IOPS: 20, Lags: []float64{0.1, 2.5}}, {Job: "j", LimitIOPS: 20, IOPS: 5, Lags: []float64{0}}}
	r.summarise()
	md := r.markdown("")
	for _, want := range []string{
		"| j | redoubt | >= 0.5 | 0.40 | 0.40 to 0.40 | - | **missed** |",
		"| j | 20 | 20 | 2 | 2.50 | 2.50 | **missed** |",
		"| j | 20 | 5 | 1 | 0.00 | 0.00 | **rate not reached** |",
	} {
		if !strings.Contains(md, want) {
			t.Errorf("no %q in\n%s", want, md)
		}
	}
	if strings.Contains(md, ">= 9") {
		t.Error("targets of the table without replication are held against replication")
	}
}

// What was measured before an error is kept, and the report says what it is.
func TestAnIncompleteRunIsNamed(t *testing.T) {
	r := sample()
	r.Incomplete = "fio: no space\nand a long log"
	md := r.markdown("")
	if !strings.Contains(md, "**The run ended early: fio: no space**") || strings.Contains(md, "long log") {
		t.Errorf("table:\n%s", md)
	}
}

// A journal in memory makes every flush free.
func TestMemoryIsNoDisk(t *testing.T) {
	for _, f := range []facts{{FileSystem: "ext2/ext3", JournalFS: "tmpfs"}, {FileSystem: "tmpfs"}} {
		if md := f.markdown(); !strings.Contains(md, "**In memory (tmpfs)") {
			t.Errorf("%+v is not marked:\n%s", f, md)
		}
	}
	if md := (facts{FileSystem: "xfs", JournalFS: "xfs"}).markdown(); strings.Contains(md, "memory (tmpfs)") {
		t.Errorf("a disk is marked:\n%s", md)
	}
}

func TestABusyMachineIsNamed(t *testing.T) {
	r := sample()
	r.Machine.Busy = []string{"before round 2: 90 % of the processors in use"}
	if md := r.markdown(""); !strings.Contains(md, "**The machine was busy before round 2: 90 %") {
		t.Errorf("table:\n%s", md)
	}
}
