package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func failoverCommand(a *app) *cobra.Command {
	return parent("failover", "open points of the past: for a test, or as the new production",
		failoverTestCommand(a), cleanupCommand(a), plannedCommand(a), unplannedCommand(a), changeCommand(a), commitCommand(a), cancelCommand(a), receiptCommand(a))
}

// pointCommand returns a command about a group and a point in its past.
func pointCommand(a *app, use, short, long string, run func(ctx context.Context, group string, at *adminv1.PointSpec) error) *cobra.Command {
	var at string
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Args: args("GROUP"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			p, err := admin.ParsePoint(at)
			if err != nil {
				return err
			}
			return run(c.Context(), args[0], p)
		}),
	}
	c.Flags().StringVar(&at, "at", "latest", "the point: latest, an RFC 3339 time, unix:NANOS, lsn:N, EPOCH:LSN, bookmark:NAME")
	return c
}

// groupCall returns a command that makes one call about a group.
func groupCall[Req any, Resp proto.Message](a *app, use, short, long string,
	call func(*admin.Client, context.Context, Req) (Resp, error), req func(group string) Req, text func(w io.Writer, r Resp)) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: args("GROUP"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, call, req(args[0]))
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { text(w, r) })
		}),
	}
}

// printPromotion says what was promoted, and how much may be missing.
func printPromotion(w io.Writer, p *adminv1.Promotion, x *adminv1.Export, tookMs uint64) {
	known := ""
	if p.GetKnownHeadLsn() != 0 {
		known = fmt.Sprintf("LSN %d, %s", p.GetKnownHeadLsn(), stamp(p.GetKnownHeadTime()))
	}
	fields(w,
		"promoted", join(position(p.GetPosition()), stamp(p.GetPointTime())),
		"epoch", number(p.GetEpoch()),
		"source was known to be at", known,
		"nothing is known since", stamp(p.GetUnknownSince()),
		"took", millis(tookMs),
	)
	fmt.Fprintln(w)
	printExport(w, x)
}
