package main

import (
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/demo"
)

func demoCommand(a *app) *cobra.Command {
	var o demo.Options
	c := &cobra.Command{
		Use:   "demo",
		Short: "show the whole way with real programs on loopback: protect, fail over, come back",
		Long: `demo starts one source and three master targets as processes on this host, in a
folder of their own, protects two disks, kills what can be killed, fails over to
several points, comes back, and judges every disk by its hash against a model
that it keeps outside of Redoubt. It exits non-zero at the first thing that does
not hold. It needs redoubtd beside redoubt, and e2fsprogs; as root with FUSE it
mounts the protected file system.`,
		Args: args(),
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			if o.BinDir == "" {
				self, err := os.Executable()
				if err != nil {
					return err
				}
				o.BinDir = filepath.Dir(self)
			}
			o.Out, o.JSON = a.out, a.json
			return demo.Run(c.Context(), o)
		}),
	}
	f := c.Flags()
	f.StringVar(&o.BinDir, "bin", "", "folder of redoubt and redoubtd; default: where this program is")
	f.StringVar(&o.WorkDir, "dir", "", "folder to work in; default: a new one that is removed afterwards")
	f.BoolVar(&o.Keep, "keep", false, "leave the folder behind")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of the workload; 0: from the clock")
	return c
}
