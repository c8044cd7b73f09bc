package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/redoubt-dr/redoubt/demo/site"
)

// kept is what a folder that stays says of its history.
type kept struct {
	Segments, Size uint64
	Start          int64
	Ports          []int
}

// prepare makes a site in dir, or finds the one that was made there before.
func prepare(ctx context.Context, o options, dir string, segments, size uint64) (*site.Site, *history, error) {
	name := filepath.Join(dir, "rto.json")
	so := site.Options{BinDir: o.bin, Dir: dir, Group: string(group), Disks: []site.Disk{{Name: diskName, Path: filepath.Join(dir, "none")}}}
	b, err := os.ReadFile(name)
	if errors.Is(err, os.ErrNotExist) {
		s, err := site.New(ctx, so)
		if err != nil {
			return nil, nil, err
		}
		h := newHistory(segments, size)
		if b, err = json.Marshal(kept{segments, size, h.start, s.Ports}); err != nil {
			return nil, nil, err
		}
		return s, h, os.WriteFile(name, b, 0o600)
	}
	var k kept
	if err == nil {
		err = json.Unmarshal(b, &k)
	}
	if err != nil {
		return nil, nil, err
	}
	if k.Segments != segments || k.Size != size {
		return nil, nil, fmt.Errorf("%s holds a history of %d segments of a disk of %d GiB", dir, k.Segments, k.Size>>30)
	}
	s, err := site.Again(so, k.Ports)
	return s, &history{segments: segments, size: size, start: k.Start}, err
}
