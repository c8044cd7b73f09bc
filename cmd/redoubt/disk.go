package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func diskCommand(a *app) *cobra.Command {
	list := &cobra.Command{
		Use: "list [GROUP]", Short: "disks that the node serves, with their NBD addresses", Args: args("[GROUP]"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ListExports, &adminv1.ListExportsRequest{Group: optional(args, 0)})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { printExportedDisks(w, r.Exports) })
		}),
	}
	return parent("disk", "protected and exported disks", list, attachCommand(a), detachCommand(a), growCommand(a), removeDiskCommand(a))
}

func printExportedDisks(w io.Writer, xs []*adminv1.Export) {
	head := []string{"GROUP", "DISK", "SIZE", "KIND", "EXPORT", "CLIENTS", "ACCESS", "URI"}
	remote := slices.ContainsFunc(xs, func(x *adminv1.Export) bool {
		return slices.ContainsFunc(x.Disks, func(d *adminv1.Disk) bool { return d.RemoteUri != "" })
	})
	if remote {
		head = append(head, "REMOTE URI")
	}
	t := newTable(w, head...)
	for _, x := range xs {
		for _, d := range x.Disks {
			cells := []string{x.Group, d.Name, iec(d.Size), x.Kind, x.Id, strconv.FormatUint(uint64(d.Clients), 10), access(d), d.Uri}
			if remote {
				cells = append(cells, d.RemoteUri)
			}
			t.row(cells...)
		}
	}
	t.flush()
}

func printDisks(w io.Writer, ds []*adminv1.Disk) {
	t := newTable(w, "DISK", "ID", "SIZE", "ACCESS", "PATH", "URI")
	for _, d := range ds {
		t.row(d.Name, number(uint64(d.Id)), iec(d.Size), access(d), d.Path, d.Uri)
	}
	t.flush()
}

func access(d *adminv1.Disk) string {
	if d.ReadOnly {
		return "read-only"
	}
	if j := d.Joining; j != nil {
		return fmt.Sprintf("read-write, being added: %s of %s", iec(j.DoneBytes), iec(j.TotalBytes))
	}
	return "read-write"
}
