package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// Every thread that there is gets the slack, and those to come inherit it.
func TestEaseScheduler(t *testing.T) {
	t.Setenv("GOMAXPROCS", "")
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	easeScheduler()
	if n := runtime.GOMAXPROCS(0); n != before+spareProcs {
		t.Errorf("GOMAXPROCS %d after %d", n, before)
	}
	if slack(t, os.Getpid()) != int64(timerSlack) {
		t.Skip("this process may not set the slack of its threads")
	}
	done := make(chan int64)
	go func() {
		runtime.LockOSThread() // never unlocked, so the next goroutine has another thread
		done <- slack(t, 0)
	}()
	if got := <-done; got != int64(timerSlack) {
		t.Errorf("a thread has a slack of %d ns", got)
	}
}

// An environment that says how many processors to use is obeyed.
func TestEaseSchedulerObeys(t *testing.T) {
	t.Setenv("GOMAXPROCS", "3")
	before := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(before) })
	easeScheduler()
	if n := runtime.GOMAXPROCS(0); n != before {
		t.Errorf("GOMAXPROCS %d after %d", n, before)
	}
}

// slack returns the timer slack of a thread; 0 means the calling one.
func slack(t *testing.T, tid int) int64 {
	t.Helper()
	name := "thread-self"
	if tid != 0 {
		name = strconv.Itoa(tid)
	}
	if tid == 0 {
		link, err := os.Readlink("/proc/" + name) // PID/task/TID
		if err != nil {
			t.Error(err)
			return -1
		}
		name = link[strings.LastIndexByte(link, '/')+1:]
	}
	b, err := os.ReadFile("/proc/" + name + "/timerslack_ns")
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return 0
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Error(err)
	}
	return n
}
