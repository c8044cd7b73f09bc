package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redoubt-dr/redoubt/demo/site"
)

// used is CPU seconds and bytes written to disk.
type used struct{ user, system, written float64 }

func (u used) cpu() float64 { return u.user + u.system }

func (u used) minus(v used) used {
	return used{u.user - v.user, u.system - v.system, u.written - v.written}
}

// ticks is how many ticks of /proc make a second: USER_HZ, which Linux keeps
// at 100 on all platforms that Go runs on.
const ticks = 100

// usage sums the daemons' CPU seconds and bytes written to disk.
func usage(nodes []*site.Node) (u used, err error) {
	for _, n := range nodes {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", n.Pid()))
		if err != nil {
			return u, err
		}
		// The program's name may hold spaces; the numbers follow its bracket.
		f := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		user, err1 := strconv.ParseFloat(f[11], 64)   // utime
		system, err2 := strconv.ParseFloat(f[12], 64) // stime
		if err := errors.Join(err1, err2); err != nil {
			return u, err
		}
		u.user, u.system = u.user+user/ticks, u.system+system/ticks
		io, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", n.Pid()))
		if err != nil {
			return u, err
		}
		for _, line := range strings.Split(string(io), "\n") {
			if v, ok := strings.CutPrefix(line, "write_bytes: "); ok {
				w, err := strconv.ParseFloat(v, 64)
				if err != nil {
					return u, err
				}
				u.written += w
			}
		}
	}
	return u, nil
}

func folderBytes(dir string) (n float64) {
	files, _ := filepath.Glob(filepath.Join(dir, "*")) // the pattern is right
	for _, f := range files {
		if fi, err := os.Stat(f); err == nil {
			n += float64(fi.Size())
		}
	}
	return n
}
