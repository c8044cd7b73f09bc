package main

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/crashtest"
)

// workerCommand is the hidden command of the processes that crashtest kills.
const workerCommand = "crashtest-worker"

func crashtestCommand(a *app) *cobra.Command {
	var o crashtest.Options
	var seconds float64
	var broken string
	c := &cobra.Command{
		Use:   "crashtest",
		Short: "judge the crash contract on this machine: power cuts, kills, failing and lying disks",
		Long: `crashtest writes to protected disks and takes their power away, on simulated
disks that lose, tear and reorder what was not synced, fail, and lie; then it
kills processes that write to real files in a folder of its own. After every crash
it holds what is found against what was acknowledged and flushed. The last line
is the verdict; the exit code is 7 if a write was lost.

--broken runs variants that break the contract on purpose, to show that the
judge sees it.`,
		Args: args(),
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			if seconds <= 0 || seconds > 1e6 {
				return usage(c, "a number of seconds such as 60", "--seconds %g is out of range", seconds)
			}
			o.Time = time.Duration(seconds * float64(time.Second))
			if o.Seed == 0 {
				o.Seed = uint64(time.Now().UnixNano())
			}
			if broken == "all" {
				o.Broken = crashtest.Modes()
			} else if broken != "" {
				m, err := crashtest.ParseMode(broken)
				if err != nil {
					return err
				}
				o.Broken = []crashtest.Mode{m}
			}
			self, err := os.Executable()
			if err != nil {
				return err
			}
			o.Command = func(w crashtest.Worker) *exec.Cmd {
				c := exec.Command(self, workerCommand, "--dir", w.Dir, "--seed", strconv.FormatUint(w.Seed, 10), "--life", strconv.FormatUint(w.Life, 10))
				if w.Mode != "" {
					c.Args = append(c.Args, "--broken", string(w.Mode))
				}
				return c
			}
			if !a.json {
				o.Out = a.out
			}
			r, err := crashtest.Run(c.Context(), o)
			if a.json {
				return errors.Join(a.printJSON(r), err)
			}
			return err
		}),
	}
	f := c.Flags()
	f.Float64Var(&seconds, "seconds", 60, "how long it may take; half of it simulated, half with real kills")
	f.StringVar(&o.Dir, "dir", ".", "folder on the disk to be tested: real kills happen in a new folder there")
	f.Uint64Var(&o.Seed, "seed", 0, "seed of workloads and crashes; 0: from the clock")
	f.StringVar(&broken, "broken", "", "run a broken variant until it is caught: skip-sync, early-ack, no-crc, early-reply, or all")
	return c
}

func crashtestWorkerCommand(a *app) *cobra.Command {
	var w crashtest.Worker
	var mode string
	c := &cobra.Command{
		Use: workerCommand, Short: "the process that crashtest kills", Hidden: true, Args: args(),
		RunE: a.runE(func(*cobra.Command, []string) error {
			w.Out, w.Mode = a.out, crashtest.Mode(mode)
			return w.Work()
		}),
	}
	f := c.Flags()
	f.StringVar(&w.Dir, "dir", "", "folder that crashtest has made")
	f.Uint64Var(&w.Seed, "seed", 0, "seed of the workload")
	f.Uint64Var(&w.Life, "life", 0, "number of this process")
	f.StringVar(&mode, "broken", "", "early-reply, or nothing")
	return c
}
