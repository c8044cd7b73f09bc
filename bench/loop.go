package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// startLoop puts a loop device on the image.
func startLoop(ctx context.Context, o options, j job, direct bool) (*target, error) {
	if os.Geteuid() != 0 {
		return nil, &skipError{"a loop device needs root"}
	}
	dir, img, err := workplace(o, j.disk)
	if err != nil {
		return nil, err
	}
	mode := "--direct-io=off"
	if direct {
		mode = "--direct-io=on"
	}
	out, err := exec.CommandContext(ctx, "losetup", "-f", "--show", mode, img).CombinedOutput()
	if err != nil {
		os.RemoveAll(dir)
		return nil, &skipError{fmt.Sprintf("losetup %s: %s", mode, strings.TrimSpace(string(out)))}
	}
	dev := strings.TrimSpace(string(out))
	return &target{engine: []string{"ioengine=libaio", "direct=1", "filename=" + dev}, loop: true, stop: func() error {
		err := exec.Command("losetup", "-d", dev).Run()
		return errors.Join(err, os.RemoveAll(dir))
	}}, nil
}
