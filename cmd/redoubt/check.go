package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/target/check"
)

func checkCommand(a *app) *cobra.Command {
	return parent("check", "prove that recovery points can be used", checkRunCommand(a), checkListCommand(a), checkReceiptCommand(a), checkVerifyCommand(a))
}

func checkRunCommand(a *app) *cobra.Command {
	r := &adminv1.RunCheckRequest{}
	c := &cobra.Command{
		Use: "run GROUP", Short: "open a point, have a script look at it, and sign what came out", Args: args("GROUP"),
		Long: `Opens a point as a test failover on a master target, measures the time to the first byte of
every disk, runs one of the node's check scripts, computes a root hash of the disks, closes
everything, and attaches a signed receipt to the point. Exit code 7 if the script found the
disks bad or they could not be read.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if _, err := admin.ParsePoint(r.Point); err != nil {
				return err
			}
			if !c.Flags().Changed("timeout") {
				a.timeout = 0 // the node's own limit ends it
			}
			r.Group = args[0]
			out, err := ask(c.Context(), a, (*admin.Client).RunCheck, r)
			if err != nil {
				return err
			}
			if err := a.show(out, func(w io.Writer) { printCheck(w, out) }); err != nil || out.Check.GetPassed() {
				return err
			}
			return &redoubt.Error{Op: "check group", Object: args[0], Err: fmt.Errorf("%s: %w", out.Problem, redoubt.ErrCorrupt),
				Hint: "open the point with redoubt failover test and look for yourself, or check an earlier one"}
		}),
	}
	c.Flags().StringVar(&r.Point, "at", "latest", "the point: latest, latest-app, an RFC 3339 time, unix:NANOS, lsn:N, EPOCH:LSN, bookmark:NAME")
	c.Flags().StringVar(&r.Script, "script", "", "name of a script in the node's folder of checks")
	c.Flags().StringVar(&r.Node, "node", "", "the master target to check on; default: the one that is asked")
	c.Flags().BoolVar(&r.NoHash, "no-hash", false, "do not read all of the disks for the root hash")
	_ = c.MarkFlagRequired("script")
	return c
}

func printCheck(w io.Writer, r *adminv1.RunCheckResponse) {
	c := r.Check
	fields(w, "check", c.Id, "point", position(&adminv1.Position{Epoch: c.Epoch, Lsn: c.Lsn}), "node", c.Node, "script", c.Script,
		"verdict", verdict(c), "problem", r.Problem, "RTO", c.Rto.AsDuration().Round(100*time.Microsecond).String(),
		"script took", r.ScriptTook.AsDuration().Round(time.Millisecond).String(), "root hash", r.RootSha256)
	if t := strings.TrimSpace(r.OutputTail); t != "" {
		fmt.Fprintf(w, "\n%s\n", t)
	}
}

func verdict(c *adminv1.Check) string {
	if c.Passed {
		return "passed"
	}
	return "FAILED"
}

func checkListCommand(a *app) *cobra.Command {
	return groupCall(a, "list GROUP", "the recovery checks of a group", "Lists the newest 32 recovery checks.", (*admin.Client).ListChecks,
		func(g string) *adminv1.ListChecksRequest { return &adminv1.ListChecksRequest{Group: g} },
		func(w io.Writer, r *adminv1.ListChecksResponse) {
			t := newTable(w, "CHECK", "POINT", "TIME", "SCRIPT", "VERDICT", "RTO", "NODE")
			for _, c := range r.Checks {
				t.row(c.Id, position(&adminv1.Position{Epoch: c.Epoch, Lsn: c.Lsn}), stamp(c.Time), c.Script, verdict(c), c.Rto.AsDuration().Round(100*time.Microsecond).String(), c.Node)
			}
			t.flush()
		})
}

func checkReceiptCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "receipt GROUP [CHECK]", Short: "print the signed receipt of a check", Args: args("GROUP", "[CHECK]"),
		Long: "Prints the signed receipt of a check, by default of the newest, as it is kept: redirect it into a file for verify-receipt.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ListChecks, &adminv1.ListChecksRequest{Group: args[0]})
			if err != nil {
				return err
			}
			want := optional(args, 1)
			i := slices.IndexFunc(r.Checks, func(k *adminv1.Check) bool { return want == "" || k.Id == want })
			if i < 0 {
				return &redoubt.Error{Op: "find check", Object: want, Err: redoubt.ErrNotFound, Hint: "`redoubt check list` names those that there are"}
			}
			_, err = a.out.Write(r.Checks[i].Receipt)
			return err
		}),
	}
}

func checkVerifyCommand(a *app) *cobra.Command {
	ca := ""
	c := &cobra.Command{
		Use: "verify-receipt FILE", Short: "verify a receipt without asking anybody", Args: args("FILE"),
		Long: "Verifies that a master target of the authority has signed the receipt, and prints what it says. It needs the authority's certificate and no connection.",
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			b, err := os.ReadFile(args[0])
			if err != nil {
				return &redoubt.Error{Op: "read receipt", Object: args[0], Err: err}
			}
			r, id, err := check.Verify(b, ca)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]any{"signed_by": id.String(), "receipt": r})
			}
			fields(a.out, "signed by", id.String(), "group", string(r.Group)+" ("+r.GroupUUID+")", "point", r.Point.String()+", "+r.PointTime.Format(time.RFC3339Nano),
				"script", r.Script+" (SHA-256 "+r.ScriptSHA256+")", "verdict", verdict(&adminv1.Check{Passed: r.Passed}), "problem", r.Problem,
				"finished", r.Finished.Format(time.RFC3339Nano), "RTO", fmt.Sprintf("%.4fs", r.RTOSeconds), "root hash", r.RootSHA256)
			return nil
		}),
	}
	c.Flags().StringVar(&ca, "ca", "/etc/redoubt/identity/ca.crt", "the authority's certificate")
	return c
}
