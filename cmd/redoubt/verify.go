package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func verifyCommand(a *app) *cobra.Command {
	var at string
	var stop, start bool
	c := &cobra.Command{
		Use: "verify GROUP", Short: "compare source and secondary by hashes of blocks", Args: args("GROUP"),
		Long: `Compares the disks at the source with what the secondary has, while they are
written to, and waits for the result. Blocks that are written to just then are
compared at a later position. It exits with 7 if any block differs.

With --at nothing is compared: the root hash of that point is computed at the
secondary, and must be what an earlier verification found for the same point.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			req := &adminv1.VerifyRequest{Group: args[0], At: at, Stop: stop}
			if at != "" {
				p, err := a.fixPoint(c.Context(), args[0], at)
				if err != nil {
					return err
				}
				req.At = p
			}
			r, err := ask(c.Context(), a, (*admin.Client).Verify, req)
			if err != nil {
				return err
			}
			if stop || start {
				return a.show(r, func(w io.Writer) { printVerifying(w, args[0], r.GetStatus()) })
			}
			return a.awaitVerify(c.Context(), req, r.GetStatus().GetStarted().AsTime())
		}),
	}
	f := c.Flags()
	f.StringVar(&at, "at", "", "compute the root hash of this point instead")
	f.BoolVar(&start, "no-wait", false, "do not wait for the result: redoubt status shows it")
	f.BoolVar(&stop, "stop", false, "give up what is under way")
	return c
}

// fixPoint checks how a point is written, so that a mistake is one of usage;
// "latest" is asked for once, because it moves.
func (a *app) fixPoint(ctx context.Context, group, at string) (string, error) {
	p, err := admin.ParsePoint(at)
	if err != nil {
		return "", err
	}
	if _, latest := p.GetAt().(*adminv1.PointSpec_Latest); !latest {
		return at, nil
	}
	r, err := ask(ctx, a, (*admin.Client).ListPoints, &adminv1.ListPointsRequest{Group: group, Limit: 1})
	if err != nil {
		return "", err
	}
	if r.Latest == nil {
		return "", &redoubt.Error{Op: "verify point of", Object: group, Err: redoubt.ErrNotFound, Hint: "there is no recovery point yet"}
	}
	return position(r.Latest.Position), nil
}

// awaitVerify polls until the verification is over and says every two seconds
// how far it is. An interrupted wait stops nothing.
func (a *app) awaitVerify(ctx context.Context, req *adminv1.VerifyRequest, began time.Time) error {
	tick := time.NewTicker(300 * time.Millisecond)
	defer tick.Stop()
	said := time.Now()
	for {
		r, err := ask(ctx, a, (*admin.Client).GetVerify, &adminv1.GetVerifyRequest{Group: req.Group, At: req.At})
		if err != nil {
			return err
		}
		st := r.GetStatus()
		if !st.GetRunning() {
			return a.verified(req.Group, st, began)
		}
		if now := time.Now(); now.Sub(said) >= 2*time.Second && !a.json {
			said = now
			printVerifying(a.err, req.Group, st)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func printVerifying(w io.Writer, group string, st *adminv1.VerifyStatus) {
	if !st.GetRunning() {
		fmt.Fprintf(w, "%s: no verification is under way\n", group)
		return
	}
	fmt.Fprintf(w, "%s: verifying, %s of %s (%s)\n", group, iec(st.DoneBlocks*verifyBlock), iec(st.AllBlocks*verifyBlock), percent(st.DoneBlocks, st.AllBlocks))
}

// verifyBlock is the size of the blocks that are compared, in bytes.
const verifyBlock = 4096

// verified prints the result and makes an error of what is wrong.
func (a *app) verified(group string, st *adminv1.VerifyStatus, began time.Time) error {
	v := st.GetLast()
	if st.GetError() != "" || v == nil || v.Started.AsTime().Before(began) {
		cause := fmt.Errorf("%s: %w", st.GetError(), redoubt.ErrUnavailable)
		if st.GetError() == "" {
			cause = fmt.Errorf("the node was restarted meanwhile: %w", redoubt.ErrUnavailable)
		}
		return &redoubt.Error{Op: "verify", Object: group, Err: cause, Hint: st.GetHint()}
	}
	if err := a.show(st, func(w io.Writer) { printVerification(w, group, v) }); err != nil {
		return err
	}
	switch {
	case v.DifferingBlocks > 0:
		return &redoubt.Error{Op: "verify", Object: group, Err: fmt.Errorf("%s differ: %w", iec(v.DifferingBlocks*verifyBlock), redoubt.ErrCorrupt),
			Hint: "what the source's clients read is not what would be recovered: look for writers that go past Redoubt, and at the disks of the source. " +
				"If the source is right, redoubt resync " + group + " ships what differs; if its disk is damaged, fail over to a point of before"}
	case !v.Compared && st.EarlierRoot != "" && st.EarlierRoot != v.Root:
		return &redoubt.Error{Op: "verify point of", Object: group, Err: fmt.Errorf("its root was %s: %w", st.EarlierRoot, redoubt.ErrCorrupt),
			Hint: "the point is not what it was; look at `redoubt scrub`, and choose another point"}
	}
	if !v.Compared && !a.json {
		if st.EarlierRoot == "" {
			fmt.Fprintln(a.out, "no earlier verification of this point is remembered to compare the root with")
		} else {
			fmt.Fprintln(a.out, "the root is that of the earlier verification")
		}
	}
	return nil
}

func printVerification(w io.Writer, group string, v *adminv1.Verification) {
	took := v.Finished.AsTime().Sub(v.Started.AsTime())
	moved, unsettled, result := "", "", ""
	if v.Compared {
		moved = fmt.Sprintf("%d blocks were written to and compared later, in %d passes", v.MovedBlocks, v.Passes)
		if v.UnsettledBlocks > 0 {
			unsettled = fmt.Sprintf("%d blocks (%s) were written to each time and not compared", v.UnsettledBlocks, iec(v.UnsettledBlocks*verifyBlock))
		}
		if result = "equal"; v.DifferingBlocks > 0 {
			result = fmt.Sprintf("%d blocks (%s) DIFFER", v.DifferingBlocks, iec(v.DifferingBlocks*verifyBlock))
		}
	}
	link := ""
	if v.HashBytes > 0 {
		link = fmt.Sprintf("%s of hashes over the link, %s read at the source", iec(v.HashBytes), iec(v.ReadBytes))
	}
	fields(w, "group", group, "point", fmt.Sprintf("%d:%d", v.Epoch, v.Lsn), "root", v.Root, "blocks", fmt.Sprintf("%d of 4 KiB (%s)", v.Blocks, iec(v.Blocks*verifyBlock)),
		"moved", moved, "unsettled", unsettled, "result", result, "took", span(took), "link", link)
	if len(v.Extents) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "DISK", "OFFSET", "LENGTH")
		for _, x := range v.Extents {
			t.row(x.Name, fmt.Sprint(x.Off), fmt.Sprint(x.Len))
		}
		t.flush()
	}
}

// verifyNote says what the last comparison of the sites found.
func verifyNote(st *adminv1.VerifyStatus, now time.Time) string {
	v := st.GetLast()
	switch {
	case st.GetRunning():
		return "verifying, " + percent(st.DoneBlocks, st.AllBlocks)
	case st.GetError() != "":
		return "the last verification failed: " + st.Error
	case v == nil:
		return ""
	case v.DifferingBlocks > 0:
		return fmt.Sprintf("%d blocks (%s) DIFFER at %d:%d, found %s ago", v.DifferingBlocks, iec(v.DifferingBlocks*verifyBlock), v.Epoch, v.Lsn, span(now.Sub(v.Finished.AsTime())))
	}
	return fmt.Sprintf("equal at %d:%d, %s ago", v.Epoch, v.Lsn, span(now.Sub(v.Finished.AsTime())))
}
