package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func exportCommand(a *app) *cobra.Command {
	list := &cobra.Command{
		Use: "list [GROUP]", Short: "points that are open as disks on the node", Args: args("[GROUP]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ListExports, &adminv1.ListExportsRequest{Group: optional(args, 0)})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printExports(w, r.Exports) })
		}),
	}
	var x exportTo
	c := parent("export", "points that are open as disks, and points written into files", list)
	c.Use = "export --to FILE GROUP/DISK"
	c.Long = `With --to, writes a disk as it was at a point into an image file of this host. All
data is verified against the checksums that were made where it was written, and again where it
arrives. FILE.partial becomes FILE when it is whole and durable.`
	x.flags(c)
	c.RunE = a.runE(func(c *cobra.Command, given []string) error {
		if x.to == "" {
			a.started = false // an error is one of usage
			if len(given) == 1 && strings.Contains(given[0], "/") {
				return usage(c, "redoubt export --to FILE "+given[0], "--to is missing")
			}
			return needsSubcommand(c, given)
		}
		if err := args("GROUP/DISK")(c, given); err != nil {
			a.started = false
			return err
		}
		return x.run(c.Context(), a, given[0])
	})
	return c
}

func printExports(w io.Writer, xs []*adminv1.Export) {
	t := newTable(w, "ID", "GROUP", "KIND", "POINT", "TIME", "HELD", "LOCAL", "NODE", "SOCKET")
	for _, x := range xs {
		t.row(x.Id, x.Group, x.Kind, position(x.Position), stamp(x.Time), iec(x.OverlayBytes), local(x.Hydration), x.Node, x.Socket)
	}
	t.flush()
}

// local says how much of an export needs no other node.
func local(h *adminv1.Hydration) string {
	switch {
	case h == nil:
		return ""
	case h.Complete:
		return "all"
	}
	s := fmt.Sprintf("%.1f%%", 100*float64(h.DoneBytes)/float64(max(h.TotalBytes, 1)))
	if h.Error != "" {
		s += " (" + h.Error + ")"
	}
	return s
}

// printExport tells where the disks of a fresh export are.
func printExport(w io.Writer, x *adminv1.Export) {
	fields(w, "export", x.GetId(), "node", x.GetNode(), "socket", x.GetSocket())
	printDisks(w, x.GetDisks())
}
