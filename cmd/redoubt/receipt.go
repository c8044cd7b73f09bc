package main

import (
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func receiptCommand(a *app) *cobra.Command {
	var maxWrites uint32
	c := &cobra.Command{
		Use: "receipt GROUP", Short: "what the last unplanned failover left behind", Args: args("GROUP"),
		Long: "Until the old source has returned the receipt is a bound; then it lists every write that was lost.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).GetLossReceipt, &adminv1.GetLossReceiptRequest{Group: args[0], MaxWrites: maxWrites})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printReceipt(w, r.GetReceipt()) })
		}),
	}
	c.Flags().Uint32Var(&maxWrites, "max", 1000, "how many lost writes to list, at most 100000")
	return c
}

func lost(r *adminv1.LossReceipt) string {
	if !r.GetComplete() {
		return fmt.Sprintf("%d writes that are known of", r.GetRecords())
	}
	return fmt.Sprintf("%d writes, %s", r.GetRecords(), iec(r.GetBytes()))
}

func printReceipt(w io.Writer, r *adminv1.LossReceipt) {
	complete := "yes: the old source's journal was read"
	if !r.GetComplete() {
		complete = "NO: a bound only, until the old source returns"
	}
	fields(w,
		"group", r.GetGroup(),
		"complete", complete,
		"kept up to", join(position(r.GetFork()), stamp(r.GetForkTime())),
		"old source was at", join(position(r.GetOldHead()), stamp(r.GetOldHeadTime())),
		"nothing is known since", stamp(r.GetUnknownSince()),
		"lost", lost(r),
		"from", stamp(r.GetFirstTime()),
		"to", stamp(r.GetLastTime()),
		"kept as a branch in", r.GetBranch(),
	)
	if n := r.GetKeptElsewhere(); n > 0 {
		fmt.Fprintf(w, "%d older writes after %s are not listed: the source has trimmed them, the secondary keeps them as a branch of epoch %d\n",
			n, position(r.GetFork()), r.GetFork().GetEpoch())
	}
	if n := r.GetGivenUp(); n > 0 {
		fmt.Fprintf(w, "%d older records after %s are not listed: the source's journal was full and gave them up; what they changed is among the extents of each disk\n",
			n, position(r.GetFork()))
	}
	names := map[uint32]string{}
	for _, d := range r.GetDisks() {
		names[d.Disk] = d.Name
	}
	if len(r.GetDisks()) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "DISK", "BYTES", "EXTENTS")
		for _, d := range r.GetDisks() {
			t.row(d.Name, iec(d.Bytes), number(uint64(len(d.Extents))))
		}
		t.flush()
	}
	if len(r.GetWrites()) > 0 {
		fmt.Fprintln(w)
		t := newTable(w, "LSN", "TIME", "DISK", "KIND", "OFFSET", "LENGTH")
		for _, x := range r.GetWrites() {
			t.row(number(x.Lsn), x.GetTime().AsTime().Format(time.RFC3339Nano), names[x.Disk], x.Kind, fmt.Sprint(x.GetExtent().GetOff()), fmt.Sprint(x.GetExtent().GetLen()))
		}
		t.flush()
	}
	if r.GetTruncated() {
		fmt.Fprintf(w, "… and %d more: --max\n", r.GetRecords()-uint64(len(r.GetWrites())))
	}
}
