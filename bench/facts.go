package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// facts are what a number needs beside it.
type facts struct {
	CPU        string   `json:"cpu"`
	Cores      int      `json:"cores"`
	Memory     string   `json:"memory"`
	Kernel     string   `json:"kernel"`
	FileSystem string   `json:"file_system"`
	JournalFS  string   `json:"journal_file_system"`
	FIO        string   `json:"fio"`
	Go         string   `json:"go"`
	Commit     string   `json:"commit"`
	When       string   `json:"when"`
	Busy       []string `json:"busy,omitempty"` // when what else ran
}

func machine(ctx context.Context, dir, journalDir string) facts {
	fs := func(dir string) string { return says(ctx, "stat", "-f", "-c", "%T", dir) }
	return facts{Cores: runtime.NumCPU(), Go: runtime.Version(), When: time.Now().UTC().Format(time.RFC3339),
		CPU:        field("/proc/cpuinfo", "model name"),
		Memory:     field("/proc/meminfo", "MemTotal"),
		FIO:        says(ctx, "fio", "--version"),
		Kernel:     says(ctx, "uname", "-r"),
		Commit:     says(ctx, "git", "describe", "--always", "--dirty"),
		FileSystem: fs(dir), JournalFS: fs(cmp.Or(journalDir, dir))}
}

// look notes whether others use the machine at this moment.
func (f *facts) look(when string) {
	if s := busy(); s != "" {
		f.Busy = append(f.Busy, when+": "+s)
		fmt.Printf("NOTE: the machine is busy %s: %s\n", when, s)
	}
}

// busy tells whether others use the processors: it watches them for a second.
func busy() string {
	i0, t0 := cpuTimes()
	time.Sleep(time.Second)
	i1, t1 := cpuTimes()
	if t1 == t0 {
		return ""
	}
	if used := 100 - 100*float64(i1-i0)/float64(t1-t0); used > 8 {
		load, _ := os.ReadFile("/proc/loadavg")
		return fmt.Sprintf("%.0f %% of the processors in use, load %s", used, strings.TrimSpace(string(load)))
	}
	return ""
}

// cpuTimes returns idle (with waiting for I/O) and all ticks.
func cpuTimes() (idle, all uint64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, s := range strings.Fields(line) {
		v, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			continue
		}
		all += v
		if i == 4 || i == 5 {
			idle += v
		}
	}
	return idle, all
}

func field(path, name string) string {
	b, _ := os.ReadFile(path)
	for line := range strings.Lines(string(b)) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == name {
			return strings.TrimSpace(v)
		}
	}
	return "unknown"
}

func says(ctx context.Context, argv ...string) string {
	out, err := exec.CommandContext(ctx, argv[0], argv[1:]...).Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}
