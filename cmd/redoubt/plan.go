package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/cluster/catalog"
	"github.com/redoubt-dr/redoubt/internal/config"
	"github.com/redoubt-dr/redoubt/plan"
)

func planCommand(a *app) *cobra.Command {
	return parent("plan", "recovery plans: many groups in order, with scripts and confirmations",
		planPutCommand(a), planValidateCommand(a), planListCommand(a), planShowCommand(a), planDeleteCommand(a), planDryRunCommand(a),
		planTestCommand(a), planRunCommand(a), planStatusCommand(a), planConfirmCommand(a), planResumeCommand(a), planCancelCommand(a), planCleanupCommand(a))
}

// readPlan reads a plan's file.
func readPlan(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		cause := err
		if errors.Is(err, os.ErrNotExist) {
			cause = redoubt.ErrNotFound
		}
		return nil, &redoubt.Error{Op: "read plan", Object: path, Err: cause, Hint: "an example is packaging/plans/vm.yaml"}
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, catalog.MaxPlanText+1))
	if err == nil && len(b) > catalog.MaxPlanText {
		err = fmt.Errorf("larger than %s: %w", iec(catalog.MaxPlanText), redoubt.ErrInvalid)
	}
	if err != nil {
		return nil, &redoubt.Error{Op: "read plan", Object: path, Err: err}
	}
	return b, nil
}

func planPutCommand(a *app) *cobra.Command {
	var force bool
	var replaces uint64
	c := &cobra.Command{
		Use: "put FILE", Short: "store a plan, or a new version of it", Args: args("FILE"),
		Long: "Runs that are under way go on with the version that they began with.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			b, err := readPlan(args[0])
			if err != nil {
				return err
			}
			r, err := ask(c.Context(), a, (*admin.Client).PutPlan, &adminv1.PutPlanRequest{Text: b, Force: force, Replaces: replaces})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				fmt.Fprintf(w, "plan %s, version %d\n", r.Plan.Name, r.Plan.Version)
				for _, f := range r.Warnings {
					fmt.Fprintf(w, "warning: %s\n", faultOf(f))
				}
			})
		}),
	}
	c.Flags().BoolVar(&force, "force", false, "also if groups, nodes or scripts that it names are not there")
	c.Flags().Uint64Var(&replaces, "replaces", 0, "refuse if the stored version is another one")
	return c
}

func planValidateCommand(a *app) *cobra.Command {
	var offline bool
	c := &cobra.Command{
		Use: "validate FILE", Short: "say everything that is wrong with a plan", Args: args("FILE"),
		Long: `Reads the plan, and asks the secondary site whether the groups, nodes and scripts that it names
are there. The exit code is 2 if anything is wrong.`,
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			b, err := readPlan(args[0])
			if err != nil {
				return err
			}
			r := &adminv1.ValidatePlanResponse{}
			if offline {
				p, _ := plan.Read(b)
				_, perr := plan.Parse(b, nil)
				r.Name = p.Name
				r.Unknown = []string{"groups, nodes and scripts: nobody was asked"}
				r.Faults = faultsOf(perr)
			} else if r, err = ask(c.Context(), a, (*admin.Client).ValidatePlan, &adminv1.ValidatePlanRequest{Text: b}); err != nil {
				return err
			}
			if err := a.show(r, func(w io.Writer) { printValidation(w, args[0], r) }); err != nil || len(r.Faults) == 0 {
				return err
			}
			return &redoubt.Error{Op: "validate plan", Object: args[0], Err: fmt.Errorf("%d faults: %w", len(r.Faults), redoubt.ErrInvalid), Hint: "every key is explained in docs/PLANS.md"}
		}),
	}
	c.Flags().BoolVar(&offline, "offline", false, "ask nobody: look at the file only")
	return c
}

func printValidation(w io.Writer, path string, r *adminv1.ValidatePlanResponse) {
	for _, f := range r.Faults {
		fmt.Fprintf(w, "%s:%s\n", path, faultOf(f))
	}
	for _, u := range r.Unknown {
		fmt.Fprintf(w, "not checked: %s\n", u)
	}
	if len(r.Faults) == 0 {
		fmt.Fprintf(w, "plan %s is valid\n", r.Name)
	}
}

func faultOf(f *adminv1.PlanFault) string {
	return config.Fault{Line: int(f.Line), Column: int(f.Column), Key: f.Key, Message: f.Message, Hint: f.Hint}.String()
}

func faultsOf(err error) (out []*adminv1.PlanFault) {
	var fs config.Faults
	if errors.As(err, &fs) {
		for _, f := range fs {
			out = append(out, &adminv1.PlanFault{Line: uint32(f.Line), Column: uint32(f.Column), Key: f.Key, Message: f.Message, Hint: f.Hint})
		}
	}
	return out
}

func planListCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "list", Short: "the plans, and their last runs", Args: args(),
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).ListPlans, &adminv1.ListPlansRequest{})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				t := newTable(w, "PLAN", "VERSION", "GROUPS", "LAST RUN", "KIND", "STATE", "STARTED")
				for _, p := range r.Plans {
					row := []string{p.Name, number(p.Version), strings.Join(p.Groups, " "), "", "", "", ""}
					if len(p.Runs) > 0 {
						last := p.Runs[0]
						copy(row[3:], []string{last.Id, last.Kind, last.State, stamp(last.Started)})
					}
					t.row(row...)
				}
				t.flush()
			})
		}),
	}
}

func planShowCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "show NAME", Short: "a plan's text and its runs", Args: args("NAME"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).GetPlan, &adminv1.GetPlanRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) {
				p := r.Plan
				fmt.Fprintf(w, "# version %d, put by %s, %s\n%s", p.Version, p.By, stamp(p.At), p.Text)
				if len(p.Runs) == 0 {
					return
				}
				fmt.Fprintln(w)
				t := newTable(w, "RUN", "VERSION", "KIND", "DIRECTION", "STATE", "DONE", "FAILED", "STARTED", "BY")
				for _, x := range p.Runs {
					t.row(x.Id, number(x.Version), x.Kind, x.Direction, x.State, fmt.Sprintf("%d/%d", x.Done, x.Total), number(uint64(x.Failed)), stamp(x.Started), x.By)
				}
				t.flush()
			})
		}),
	}
}

func planDeleteCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "delete NAME", Short: "forget a plan and its runs", Args: args("NAME"),
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			r, err := ask(c.Context(), a, (*admin.Client).DeletePlan, &adminv1.DeletePlanRequest{Name: args[0]})
			if err != nil {
				return err
			}
			return a.show(r, func(w io.Writer) { fmt.Fprintf(w, "plan %s is deleted\n", args[0]) })
		}),
	}
}
