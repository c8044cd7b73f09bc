package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/redoubt-dr/redoubt/demo/site"
)

type used struct{ cpu, written float64 }

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
		for _, i := range []int{11, 12} { // utime, stime
			v, err := strconv.ParseFloat(f[i], 64)
			if err != nil {
				return u, err
			}
			u.cpu += v / ticks
		}
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
