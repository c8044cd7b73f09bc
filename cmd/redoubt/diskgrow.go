package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/internal/config"
)

func growCommand(a *app) *cobra.Command {
	var size string
	c := &cobra.Command{
		Use: "grow GROUP DISK", Short: "make a protected disk larger, while it is used", Args: args("GROUP", "DISK"),
		Long: `Makes a disk larger, at the source. Enlarge the image or device first: truncate,
lvextend. What is new reads as zeros, at both sites, from one write of the group's order
on; points of before keep the old size. NBD clients see the new size when they connect
again. A disk does not shrink.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r := &adminv1.GrowDiskRequest{Group: args[0], Disk: args[1]}
			if size != "" {
				n, err := config.ParseSize(size)
				if err != nil {
					return err
				}
				r.Size = uint64(n)
			}
			o, err := ask(c.Context(), a, (*admin.Client).GrowDisk, r)
			if err != nil {
				return err
			}
			return a.show(o, func(w io.Writer) {
				if o.Before == o.After {
					fmt.Fprintf(w, "%s has %s already; enlarge its image or device first\n", args[1], iec(o.After))
					return
				}
				fmt.Fprintf(w, "%s grew from %s to %s\n", args[1], iec(o.Before), iec(o.After))
				if o.Clients > 0 {
					fmt.Fprintf(w, "%d NBD clients see it when they connect again\n", o.Clients)
				}
			})
		}),
	}
	c.Flags().StringVar(&size, "size", "", "the new size, such as 20GiB or a number of bytes; by default what the image or device has")
	return c
}
