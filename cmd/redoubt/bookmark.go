package main

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
)

func bookmarkCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "bookmark GROUP NAME", Short: "name the present moment as a recovery point", Args: args("GROUP", "NAME"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			if err := redoubt.ValidName("bookmark", args[1]); err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).AddBookmark, &adminv1.AddBookmarkRequest{Group: args[0], Name: args[1]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "%s is %s, %s\n", args[1], position(r.Position), stamp(r.Time))
			})
		}),
	}
}
