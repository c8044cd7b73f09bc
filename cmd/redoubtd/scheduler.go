package main

import (
	"os"
	"runtime"
	"strconv"
	"time"
)

const (
	// timerSlack is how late the system may wake a thread that sleeps for a time.
	// While there is work, the monitor of Go's scheduler sleeps 20 us at a time. Where a
	// wake-up is dear, as in a virtual machine, that took a fifth of the daemon's
	// processor time; no timer of ours minds a millisecond.
	timerSlack = time.Millisecond
	// spareProcs are what goroutines run on while others wait for the disk: with as
	// many as there are processors, two syncs hold up every connection until the
	// monitor looks.
	spareProcs = 2
)

// easeScheduler makes Go's scheduler cheaper for a program of short system calls.
// What it cannot have it does without; packaging/redoubtd.service asks for the
// slack too, where this process may not. An environment with GOMAXPROCS is obeyed.
func easeScheduler() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + spareProcs)
	}
	// A thread inherits the slack of the one that makes it.
	threads, _ := os.ReadDir("/proc/self/task")
	for _, t := range threads {
		_ = os.WriteFile("/proc/"+t.Name()+"/timerslack_ns", []byte(strconv.FormatInt(int64(timerSlack), 10)), 0)
	}
}
