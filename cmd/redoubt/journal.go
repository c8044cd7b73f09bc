package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/internal/vfs"
	"github.com/redoubt-dr/redoubt/journal"
)

func journalCommand(a *app) *cobra.Command {
	return parent("journal", "read a source's journal offline", journalDump(a), journalVerify(a))
}

func journalDump(a *app) *cobra.Command {
	var from, to uint64
	c := &cobra.Command{
		Use: "dump DIR", Short: "print a line per record (--json: a document per line)", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			err := journal.Dump(args[0], a.out, journal.DumpOptions{FS: vfs.OS, JSON: a.json, From: redoubt.LSN(from), To: redoubt.LSN(to)})
			return whereJournals(err)
		}),
	}
	c.Flags().Uint64Var(&from, "from", 0, "first LSN")
	c.Flags().Uint64Var(&to, "to", 0, "last LSN; 0: the end")
	return c
}

func journalVerify(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "verify DIR", Short: "read all records and check every checksum", Args: args("DIR"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			r, err := journal.Verify(args[0])
			if err != nil && len(r.Problems) == 0 {
				return whereJournals(err)
			}
			if a.json {
				return errors.Join(a.printJSON(r), damage(err, "verify journal", args[0], len(r.Problems), "keep a copy of the folder before anything else is tried"))
			}
			fmt.Fprintf(a.out, "%d records in %d segments, LSN %d to %d, %s\n", r.Records, r.Segments, r.First, r.Last, iec(uint64(r.Bytes)))
			for _, n := range r.Notes {
				fmt.Fprintln(a.out, "note:", n)
			}
			for _, p := range r.Problems {
				fmt.Fprintln(a.out, "damage:", p)
			}
			return damage(err, "verify journal", args[0], len(r.Problems), "keep a copy of the folder before anything else is tried")
		}),
	}
}

// whereJournals says where a journal is if there is none.
func whereJournals(err error) error {
	var e *redoubt.Error
	if errors.Is(err, redoubt.ErrNotFound) && errors.As(err, &e) && e.Hint == "" {
		e.Hint = "a group's journal is DATA_DIR/groups/GROUP/journal, or its journal.dir"
	}
	return err
}

// damage turns what a verification found into an exit code.
func damage(err error, op, dir string, n int, hint string) error {
	if n == 0 {
		return err
	}
	return &redoubt.Error{Op: op, Object: dir, Err: fmt.Errorf("%d places: %w", n, redoubt.ErrCorrupt), Hint: hint}
}
