package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/target/index"
)

func indexCommand(a *app) *cobra.Command {
	dump := &cobra.Command{
		Use: "dump DIR", Short: "print a line per run", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			if !a.json {
				return index.Dump(vfs.OS, args[0], a.out)
			}
			var b lines
			if err := index.Dump(vfs.OS, args[0], &b); err != nil {
				return err
			}
			return a.printJSON(dumped{args[0], b.all()})
		}),
	}
	verify := &cobra.Command{
		Use: "verify DIR", Short: "read all runs and check every checksum and their order", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error { return verifyIndex(a, args[0]) }),
	}
	return parent("index", "read a master target's index offline", dump, verify)
}

type indexReport struct {
	Dir     string   `json:"dir"`
	Files   int      `json:"files"`
	Runs    int      `json:"runs"`
	Entries uint64   `json:"entries"`
	Bytes   uint64   `json:"bytes"`
	Damage  []string `json:"damage"`
}

func verifyIndex(a *app, dir string) error {
	r, err := index.Verify(vfs.OS, dir)
	if err != nil {
		return err
	}
	if r.Files == 0 {
		return &redoubt.Error{Op: "read index", Object: dir, Err: redoubt.ErrNotFound, Hint: "there are no *.runs files; a node's are in DATA_DIR/target/index"}
	}
	out := indexReport{dir, r.Files, r.Runs, r.Entries, r.Bytes, append([]string{}, r.Damage...)}
	bad := damage(nil, "verify index", dir, len(out.Damage), "a node builds its index again from the shards: redoubt node scrub NODE --now")
	if a.json {
		return errors.Join(a.printJSON(out), bad)
	}
	fmt.Fprintf(a.out, "%d entries in %d runs in %d files, %s\n", r.Entries, r.Runs, r.Files, iec(r.Bytes))
	for _, d := range out.Damage {
		fmt.Fprintln(a.out, "damage:", d)
	}
	return bad
}
