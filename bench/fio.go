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

// job is a fio job file without the engine's lines.
type job struct{ name, text string }

func readJobs(dir string) ([]job, error) {
	paths, err := filepath.Glob(filepath.Join(dir, "*.fio"))
	if err != nil || len(paths) == 0 {
		return nil, fmt.Errorf("no job files in %s (run from the top of the tree): %v", dir, err)
	}
	var out []job
	for _, p := range paths {
		b, err := os.ReadFile(p)
		if err != nil {
			return nil, err
		}
		out = append(out, job{strings.TrimSuffix(filepath.Base(p), ".fio"), string(b)})
	}
	return out, nil
}

// measurement is one run of one job.
type measurement struct {
	IOPS  float64 `json:"iops"`
	MiBps float64 `json:"mib_per_s"`
	P50us float64 `json:"p50_us"`
	P99us float64 `json:"p99_us"`
}

// fioSide is the part of fio's JSON for one direction.
type fioSide struct {
	IOPS  float64 `json:"iops"`
	BW    float64 `json:"bw_bytes"`
	Total uint64  `json:"total_ios"`
	Clat  fioLat  `json:"clat_ns"`
}

type fioLat struct {
	Percentile map[string]float64 `json:"percentile"`
}

func measure(ctx context.Context, o options, j job, t *target) (measurement, error) {
	var text bytes.Buffer
	fmt.Fprintf(&text, "[global]\n%s\nsize=%d\ntime_based=1\nruntime=%d\nrandrepeat=0\nrefill_buffers=1\nthread=1\n",
		strings.Join(t.engine, "\n"), o.size, o.seconds)
	text.WriteString(j.text)
	path := filepath.Join(o.dir, "job.fio")
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
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
	var res struct {
		Jobs []struct {
			Error       int
			Read, Write fioSide
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
	side := res.Jobs[0].Write
	if side.Total == 0 {
		side = res.Jobs[0].Read
	}
	if side.Total == 0 {
		return measurement{}, fmt.Errorf("fio did nothing: %s", out)
	}
	return measurement{IOPS: side.IOPS, MiBps: side.BW / (1 << 20),
		P50us: side.Clat.Percentile["50.000000"] / 1e3, P99us: side.Clat.Percentile["99.000000"] / 1e3}, nil
}
