package main

import (
	"os"
	"time"

	"github.com/spf13/cobra"
)

const defaultServer = "unix:/run/redoubt/admin.sock"

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "redoubt",
		Short: "protect Linux disks, fail over to any second of their past, and come back",
		Long: `redoubt asks a redoubtd, by default the one on this host.

Points in time (--at) are written as: latest, latest-app (the newest
application-consistent bookmark), latest-crash, an RFC 3339 time such as
2026-11-22T22:15:03.25Z, unix:NANOSECONDS, lsn:N, EPOCH:LSN or bookmark:NAME.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE:          needsSubcommand,
	}
	f := root.PersistentFlags()
	f.StringVar(&a.server, "server", env("REDOUBT_SERVER", defaultServer), "the redoubtd to ask: unix:/PATH or https://HOST:PORT (REDOUBT_SERVER)")
	f.StringVar(&a.socket, "socket", "", "short for --server unix:PATH")
	f.StringVar(&a.identity, "identity", env("REDOUBT_IDENTITY", "/etc/redoubt/identity"), "folder with node.crt, node.key and ca.crt, for https (REDOUBT_IDENTITY)")
	f.DurationVar(&a.timeout, "timeout", 2*time.Minute, "how long to wait for an answer; 0: without end")
	f.BoolVar(&a.json, "json", false, "print one JSON document instead of text")
	root.SetOut(a.out)
	root.SetErr(a.err)
	root.AddCommand(
		statusCommand(a), groupCommand(a), diskCommand(a), exportCommand(a), nodeCommand(a),
		pointsCommand(a), bookmarkCommand(a), retentionCommand(a), checkCommand(a), verifyCommand(a), resyncCommand(a),
		failoverCommand(a), reverseCommand(a), failbackCommand(a), jobCommand(a), planCommand(a), branchCommand(a),
		journalCommand(a), segmentCommand(a), indexCommand(a), catalogCommand(a),
		caCommand(a), configCommand(a), demoCommand(a), crashtestCommand(a), crashtestWorkerCommand(a), versionCommand(a),
	)
	return root
}

func env(name, otherwise string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return otherwise
}

// parent returns a command that only holds others.
func parent(use, short string, children ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Args: cobra.ArbitraryArgs, RunE: needsSubcommand}
	c.AddCommand(children...)
	return c
}

// needsSubcommand prints help, and refuses a misspelt subcommand: by itself
// cobra would print help for it and report success.
func needsSubcommand(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return c.Help()
	}
	c.SuggestionsMinimumDistance = 2
	hint := "commands: see " + c.CommandPath() + " --help"
	if s := c.SuggestionsFor(args[0]); len(s) > 0 {
		hint = "did you mean " + s[0] + "?"
	}
	return usage(c, hint, "unknown command %q", args[0])
}
