package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/internal/config"
)

func configCommand(a *app) *cobra.Command {
	check := &cobra.Command{
		Use: "check [FILE]", Short: "say everything that is wrong with a redoubtd.yaml", Args: args("[FILE]"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			path := optional(args, 0)
			if path == "" {
				path = config.DefaultPath
			}
			c, err := config.Load(path)
			if err != nil {
				return err
			}
			if a.json {
				return a.printJSON(struct {
					File  string   `json:"file"`
					Name  string   `json:"name"`
					Roles []string `json:"roles"`
				}{path, c.Name, c.Roles()})
			}
			fmt.Fprintf(a.out, "%s is good: %s, %s\n", path, c.Name, strings.Join(c.Roles(), " and "))
			return nil
		}),
	}
	return parent("config", "the daemon's configuration", check)
}
