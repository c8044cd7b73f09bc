package main

import (
	"io"

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
	return parent("export", "points that are open as disks", list)
}

func printExports(w io.Writer, xs []*adminv1.Export) {
	t := newTable(w, "ID", "GROUP", "KIND", "POINT", "TIME", "WRITTEN", "NODE", "SOCKET")
	for _, x := range xs {
		t.row(x.Id, x.Group, x.Kind, position(x.Position), stamp(x.Time), iec(x.OverlayBytes), x.Node, x.Socket)
	}
	t.flush()
}

// printExport tells where the disks of a fresh export are.
func printExport(w io.Writer, x *adminv1.Export) {
	fields(w, "export", x.GetId(), "node", x.GetNode(), "socket", x.GetSocket())
	printDisks(w, x.GetDisks())
}
