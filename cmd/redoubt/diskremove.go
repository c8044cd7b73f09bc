package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func removeDiskCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "remove GROUP DISK", Short: "take a disk out of its group, while the others are used", Args: args("GROUP", "DISK"),
		Long: `Takes a disk out of its group, at the source. Its NBD clients are sent away; its image
has everything that they wrote, and is left alone. Points of before keep the disk and can
be opened and failed over to with it; points from one write of the group's order on do not
have it. Then take the disk out of the configuration. A disk that is put in again later is
another disk.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			o, err := ask(c.Context(), a, (*admin.Client).RemoveDisk, &adminv1.RemoveDiskRequest{Group: args[0], Disk: args[1]})
			if err != nil {
				return err
			}
			return a.show(o, func(w io.Writer) {
				fmt.Fprintf(w, "%s is not a part of %s any more; take it out of the configuration\n", args[1], args[0])
			})
		}),
	}
}
