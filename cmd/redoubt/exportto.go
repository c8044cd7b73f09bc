package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

// exported is what an export to a file prints.
type exported struct {
	File      string  `json:"file"`
	Group     string  `json:"group"`
	Disk      string  `json:"disk"`
	Point     string  `json:"point"`
	Time      string  `json:"time"`
	Size      uint64  `json:"size"`
	DataBytes uint64  `json:"data_bytes"`
	SHA256    string  `json:"sha256,omitempty"`
	Seconds   float64 `json:"seconds"`
}

// exportTo is the command's flags.
type exportTo struct {
	to, at, branch, format, hash string
	force                        bool
}

func (x *exportTo) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&x.to, "to", "", "write the point of GROUP/DISK into this file of this host")
	f.StringVar(&x.at, "at", "latest", "the point: latest, latest-app, an RFC 3339 time, unix:NANOS, lsn:N, EPOCH:LSN, bookmark:NAME")
	branchFlag(c, &x.branch)
	f.StringVar(&x.format, "format", "sparse", "sparse: zeros are holes; raw: the file's whole space is reserved")
	f.StringVar(&x.hash, "hash", "sha256", "hash of the whole image: sha256 or none (faster, for a huge sparse disk much)")
	f.BoolVar(&x.force, "force", false, "replace FILE if it exists")
}

func (x *exportTo) run(ctx context.Context, a *app, name string) error {
	group, disk, ok := strings.Cut(name, "/")
	if !ok || group == "" || disk == "" {
		return &redoubt.Error{Op: "export", Object: name, Err: redoubt.ErrInvalid, Hint: "redoubt export --to FILE GROUP/DISK"}
	}
	if x.format != "raw" && x.format != "sparse" || x.hash != "sha256" && x.hash != "none" {
		return &redoubt.Error{Op: "export", Object: name, Err: redoubt.ErrInvalid, Hint: "--format raw|sparse, --hash sha256|none"}
	}
	p, err := admin.ParsePoint(x.at)
	if err != nil {
		return err
	}
	if x.branch != "" {
		p = nil
	}
	c, err := a.dial()
	if err != nil {
		return err
	}
	defer c.Close()
	start := time.Now()
	im, err := createImage(x.to, x.format == "sparse", x.hash == "sha256", x.force)
	if err != nil {
		return err
	}
	im.seen = a.showBytes()
	if err := c.ReadDisk(ctx, &adminv1.ReadPointRequest{Group: group, Disk: disk, Point: p, Branch: x.branch}, a.timeout, im); err != nil {
		return errors.Join(err, im.abandon())
	}
	sum, err := im.finish()
	if err != nil {
		return errors.Join(err, im.abandon())
	}
	out := exported{File: x.to, Group: group, Disk: disk, Point: position(im.head.Position), Time: stamp(im.head.Time), Size: im.head.Size,
		DataBytes: im.data, SHA256: sum, Seconds: time.Since(start).Seconds()}
	if a.json {
		return a.printJSON(out)
	}
	fields(a.out, "file", out.File, "point", join(out.Point, out.Time), "size", iec(out.Size), "data", iec(out.DataBytes), "sha256", out.SHA256,
		"took", fmt.Sprintf("%.1fs, %s/s", out.Seconds, iec(uint64(float64(out.DataBytes)/out.Seconds))))
	return nil
}

// showBytes returns what shows progress, every other second, on the error stream.
func (a *app) showBytes() func(at, data, size uint64) {
	start := time.Now()
	last := start
	return func(at, data, size uint64) {
		now := time.Now()
		if now.Sub(last) < 2*time.Second {
			return
		}
		last = now
		fmt.Fprintf(a.err, "%s of %s, %s of data, %s/s\n", iec(at), iec(size), iec(data), iec(uint64(float64(data)/now.Sub(start).Seconds())))
	}
}
