package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// measurement is one run of one job. Latencies are fio's completion latencies;
// of a mixed job they are those of the slower side.
type measurement struct {
	IOPS       float64 `json:"iops"` // reads and writes
	MiBps      float64 `json:"mib_per_s"`
	P50us      float64 `json:"p50_us"`
	P99us      float64 `json:"p99_us"`
	FlushP50us float64 `json:"flush_p50_us,omitempty"`
	FlushP99us float64 `json:"flush_p99_us,omitempty"`
}

// load says how to run a job.
type load struct {
	job   job
	seed  int     // the same for all rivals of a round
	limit float64 // IOPS; 0: as fast as it can
	secs  int     // length, but for the long disk, which is gone over once
}

// fioFile returns the job file: [global] with the target, then the job's own text.
func fioFile(o options, l load, t *target) string {
	var b strings.Builder
	fmt.Fprintf(&b, "[global]\n%s\nsize=%d\nrandseed=%d\nrefill_buffers=1\nthread=1\ngroup_reporting=1\n",
		strings.Join(t.engine, "\n"), o.diskSize(l.job.disk), l.seed)
	if l.job.disk != diskLong {
		fmt.Fprintf(&b, "time_based=1\nruntime=%d\n", l.secs)
	}
	b.WriteString(l.job.text)
	jobs := option(l.job.text, "numjobs", 1)
	if t.loop {
		for _, line := range l.job.loop {
			fmt.Fprintln(&b, line)
		}
		jobs = option(strings.Join(l.job.loop, "\n"), "numjobs", jobs)
	}
	if l.limit > 0 {
		b.WriteString(rate(l, jobs))
	}
	return b.String()
}

// rate spreads a limit over the jobs and, in a mix, over the two directions.
func rate(l load, jobs int) string {
	per := l.limit / float64(jobs)
	if !strings.Contains(l.job.text, "rw=randrw") {
		return fmt.Sprintf("rate_iops=%d\n", max(1, int(per)))
	}
	reads := float64(option(l.job.text, "rwmixread", 50)) / 100
	return fmt.Sprintf("rate_iops=%d,%d\n", max(1, int(per*reads)), max(1, int(per*(1-reads))))
}

// option returns a number of a job file.
func option(text, name string, otherwise int) int {
	for line := range strings.Lines(text) {
		var v int
		if k, num, _ := strings.Cut(strings.TrimSpace(line), "="); k == name {
			if _, err := fmt.Sscan(num, &v); err == nil {
				return v
			}
		}
	}
	return otherwise
}

// measure runs fio once.
func measure(ctx context.Context, o options, l load, t *target) (measurement, error) {
	path := filepath.Join(o.dir, "job.fio")
	if err := os.WriteFile(path, []byte(fioFile(o, l, t)), 0o600); err != nil {
		return measurement{}, err
	}
	cmd := exec.CommandContext(ctx, "fio", "--output-format=json", path)
	cmd.Dir = o.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return measurement{}, fmt.Errorf("fio: %w: %s%s", err, stderr.String(), out)
	}
	return parseFIO(out)
}

// fioSide is the part of fio's JSON for one direction.
type fioSide struct {
	IOPS  float64 `json:"iops"`
	BW    float64 `json:"bw_bytes"`
	Total uint64  `json:"total_ios"`
	Clat  fioLat  `json:"clat_ns"`
	Lat   fioLat  `json:"lat_ns"` // of flushes
}

type fioLat struct {
	Percentile map[string]float64 `json:"percentile"`
}

func (l fioLat) us(p string) float64 { return l.Percentile[p] / 1e3 }

const p50, p99 = "50.000000", "99.000000"

func parseFIO(out []byte) (measurement, error) {
	var res struct {
		Jobs []struct {
			Error             int
			Read, Write, Sync fioSide
		}
	}
	// fio prints notes before the document now and then.
	if i := bytes.IndexByte(out, '{'); i > 0 {
		out = out[i:]
	}
	if err := json.Unmarshal(out, &res); err != nil {
		return measurement{}, fmt.Errorf("fio's answer: %w", err)
	}
	if len(res.Jobs) != 1 || res.Jobs[0].Error != 0 {
		return measurement{}, fmt.Errorf("fio failed: %s", out)
	}
	j := res.Jobs[0]
	if j.Write.Total+j.Read.Total == 0 {
		return measurement{}, fmt.Errorf("fio did nothing: %s", out)
	}
	return measurement{IOPS: j.Read.IOPS + j.Write.IOPS, MiBps: (j.Read.BW + j.Write.BW) / (1 << 20),
		P50us: max(j.Read.Clat.us(p50), j.Write.Clat.us(p50)), P99us: max(j.Read.Clat.us(p99), j.Write.Clat.us(p99)),
		FlushP50us: j.Sync.Lat.us(p50), FlushP99us: j.Sync.Lat.us(p99)}, nil
}
