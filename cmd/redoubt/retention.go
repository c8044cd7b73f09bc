package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func retentionCommand(a *app) *cobra.Command {
	return parent("retention", "which recovery points are kept, and for how long",
		retentionShowCommand(a), retentionSetCommand(a), retentionPlanCommand(a), pinCommand(a), unpinCommand(a), holdCommand(a), confirmCommand(a))
}

func retentionShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show GROUP", Short: "policy, pins and what each tier holds", Args: args("GROUP"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).GetRetention, &adminv1.GetRetentionRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printRetention(w, r) })
		}),
	}
}

func printRetention(w io.Writer, r *adminv1.GetRetentionResponse) {
	by := "the default"
	if r.Chosen {
		by = "chosen"
	}
	fmt.Fprintf(w, "policy   %s (%s)\nclock    %s\nplans    %d, %d segments dropped, %s freed\n", r.Policy, by, stamp(r.Clock), r.Plans, r.DroppedSegments, iec(r.FreedBytes))
	if r.Phase != "" {
		fmt.Fprintf(w, "         the last one is %s, %d segments are left\n", r.Phase, r.SegmentsLeft)
	}
	if r.Stopped != "" {
		fmt.Fprintf(w, "stopped  %s\nhint     %s\n", r.Stopped, r.Hint)
	}
	fmt.Fprintln(w)
	printTiers(w, r.Tiers)
	if len(r.Pins) == 0 {
		return
	}
	fmt.Fprintln(w)
	t := newTable(w, "PIN", "KIND", "POINT", "TIME", "UNTIL", "BY")
	for _, p := range r.Pins {
		t.row(p.Name, p.Kind, position(p.Position), stamp(p.Time), stamp(p.Until), p.By)
	}
	t.flush()
}

func printTiers(w io.Writer, tiers []*adminv1.RetentionTier) {
	if len(tiers) == 0 {
		return // nothing is kept yet
	}
	t := newTable(w, "TIER", "POINTS", "STORED", "OLDEST", "NEWEST")
	for _, k := range tiers {
		t.row(k.Name, number(k.Points), iec(k.StoredBytes), stamp(k.Oldest), stamp(k.Newest))
	}
	t.flush()
}

func retentionSetCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "set GROUP POLICY", Short: "change the policy", Args: args("GROUP", "POLICY"),
		Long: `Changes which points are kept. POLICY is such as
every=15m,1s=1d,1m=3d,1h=14d,1d=60d,bookmarks=60d: every write for 15 minutes, the last
of every second for a day, and so on; bookmarks for 60 days, also if POLICY does
not name them. Points that the new policy drops are gone for good: "redoubt retention plan --policy" shows which.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).SetRetention, &adminv1.SetRetentionRequest{Group: args[0], Policy: args[1]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintln(w, r.Policy) })
		}),
	}
}

func pinCommand(a *app) *cobra.Command {
	var until string
	c := &cobra.Command{
		Use: "pin GROUP NAME [POINT]", Short: "keep a point, whatever the policy says", Args: args("GROUP", "NAME", "[POINT]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			at, end, err := pinArguments(optional(args, 2), until)
			if err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).PinPoint, &adminv1.PinPointRequest{Group: args[0], Name: args[1], Point: at, Until: end})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printPin(w, r.Pin) })
		}),
	}
	c.Flags().StringVar(&until, "until", "", "RFC 3339 time at which it ends; default: with unpin")
	return c
}

func holdCommand(a *app) *cobra.Command {
	var until string
	c := &cobra.Command{
		Use: "hold GROUP NAME [POINT]", Short: "keep a point up to a date that can only be put off", Args: args("GROUP", "NAME", "[POINT]"),
		Long: "Keeps a point up to a date. Nothing ends a hold sooner; the same command with a later date puts its end off. Needs the role keeper or operator.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			at, end, err := pinArguments(optional(args, 2), until)
			if err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).HoldPoint, &adminv1.HoldPointRequest{Group: args[0], Name: args[1], Point: at, Until: end})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printPin(w, r.Pin) })
		}),
	}
	c.Flags().StringVar(&until, "until", "", "RFC 3339 time at which it ends")
	return c
}

// pinArguments reads a point, unset if it is not given, and an end.
func pinArguments(point, until string) (at *adminv1.PointSpec, end *timestamppb.Timestamp, err error) {
	if point != "" {
		if at, err = admin.ParsePoint(point); err != nil {
			return nil, nil, err
		}
	}
	if until != "" {
		t, err := time.Parse(time.RFC3339Nano, until)
		if err != nil {
			return nil, nil, &redoubt.Error{Op: "parse time", Object: until, Err: redoubt.ErrInvalid, Hint: "an RFC 3339 time such as 2027-11-22T22:15:03Z"}
		}
		end = timestamppb.New(t)
	}
	return at, end, nil
}

func printPin(w io.Writer, p *adminv1.Pin) {
	end := ""
	if p.Until != nil {
		end = " until " + stamp(p.Until)
	}
	fmt.Fprintf(w, "%s %s keeps %s, %s%s\n", p.Kind, p.Name, position(p.Position), stamp(p.Time), end)
}

func unpinCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "unpin GROUP NAME", Short: "end a pin", Args: args("GROUP", "NAME"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).UnpinPoint, &adminv1.UnpinPointRequest{Group: args[0], Name: args[1]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintf(w, "%s is no longer pinned\n", args[1]) })
		}),
	}
}

func confirmCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "confirm GROUP", Short: "say that a jump of time is right, so that thinning goes on", Args: args("GROUP"),
		Long: "After the writes' time has gone forward by more than a week at once nothing is thinned until this is said. Points and holds are then as old as the clocks say. Needs the role keeper, or the local socket.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ConfirmClock, &adminv1.ConfirmClockRequest{Group: args[0]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintf(w, "retention reckons with %s\n", stamp(r.Clock)) })
		}),
	}
}
