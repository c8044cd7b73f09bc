package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/segment"
)

func segmentCommand(a *app) *cobra.Command {
	dump := &cobra.Command{
		Use: "dump DIR", Short: "print a line per shard", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			if a.json {
				return dumpLines(a, args[0])
			}
			return segment.Dump(vfs.OS, args[0], a.out)
		}),
	}
	verify := &cobra.Command{
		Use: "verify DIR", Short: "read all shards and check every checksum", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error { return verifySegments(a, args[0]) }),
	}
	return parent("segment", "read a master target's shard log offline", dump, verify)
}

type segmentReport struct {
	Dir     string          `json:"dir"`
	Files   int             `json:"files"`
	Shards  int             `json:"shards"`
	Deleted int             `json:"deleted"`
	Bytes   int64           `json:"bytes"`
	Damage  []segmentDamage `json:"damage"`
}

type segmentDamage struct {
	File   string `json:"file"`
	Offset int64  `json:"offset"`
	Length int64  `json:"length"`
	Reason string `json:"reason"`
}

func verifySegments(a *app, dir string) error {
	r, err := segment.Verify(vfs.OS, dir)
	if err != nil {
		return err
	}
	out := segmentReport{Dir: dir, Files: r.Files, Shards: r.Shards, Deleted: r.Deleted, Bytes: r.Bytes, Damage: []segmentDamage{}}
	for _, d := range r.Damage {
		out.Damage = append(out.Damage, segmentDamage{d.File, d.Off, d.Len, d.Reason})
	}
	bad := damage(nil, "verify shard log", dir, len(out.Damage), "a node rebuilds what is rotten from the others: redoubt node scrub NODE --now. A shard that it has rebuilt is listed until its file is compacted")
	if a.json {
		return errors.Join(a.printJSON(out), bad)
	}
	fmt.Fprintf(a.out, "%d shards in %d files, %s, %d deleted\n", r.Shards, r.Files, iec(uint64(r.Bytes)), r.Deleted)
	for _, d := range out.Damage {
		fmt.Fprintf(a.out, "damage: %s at %d, %d bytes: %s\n", d.File, d.Offset, d.Length, d.Reason)
	}
	return bad
}

// dumpLines wraps the text dump into a JSON document.
func dumpLines(a *app, dir string) error {
	var b lines
	if err := segment.Dump(vfs.OS, dir, &b); err != nil {
		return err
	}
	return a.printJSON(dumped{dir, b.all()})
}

// dumped is the JSON document of a dump that is text.
type dumped struct {
	Dir   string   `json:"dir"`
	Lines []string `json:"lines"`
}
