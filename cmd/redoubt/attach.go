package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt"
	"github.com/redoubt-dr/redoubt/admin"
	adminv1 "github.com/redoubt-dr/redoubt/admin/v1"
	"github.com/redoubt-dr/redoubt/blockdev"
)

type attached struct {
	Device string `json:"device"`
	Group  string `json:"group"`
	Disk   string `json:"disk"`
	Export string `json:"export"`
	Socket string `json:"socket"`
	Size   uint64 `json:"size"`
}

func attachCommand(a *app) *cobra.Command {
	var o blockdev.AttachOptions
	var export string
	c := &cobra.Command{
		Use: "attach GROUP DISK | URI", Short: "make a disk a block device of this host, /dev/nbdN", Args: args("GROUP|URI", "[DISK]"),
		Long: "Attaches a disk through the kernel's NBD client, as root: a disk that this host's redoubtd serves, or the export\n" +
			"of an NBD address, nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH. The kernel speaks no TLS, so nbds:// is refused.",
		RunE: a.runE(func(c *cobra.Command, args []string) error {
			got, err := a.chooseExport(c, args, export, &o)
			if err != nil {
				return err
			}
			if o.Reconnect { // what is not said stays as it was
				if !c.Flags().Changed("io-timeout") {
					o.Timeout = 0
				}
				if !c.Flags().Changed("dead-timeout") {
					o.DeadTimeout = 0
				}
			}
			if got.Device, err = blockdev.Attach(c.Context(), o); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(got)
			}
			fmt.Fprintln(a.out, got.Device)
			return nil
		}),
	}
	c.Flags().StringVar(&export, "export", "", "id of the export, if the disk is open at several points (redoubt export list)")
	c.Flags().StringVar(&o.Device, "device", "", "such as /dev/nbd0; default: a free one")
	c.Flags().BoolVar(&o.Reconnect, "reconnect", false, "replace the connections that --device has lost; its users go on, its timeouts stay as they were unless given")
	c.Flags().DurationVar(&o.Timeout, "io-timeout", time.Minute, "answers that take longer end the connection")
	c.Flags().DurationVar(&o.DeadTimeout, "dead-timeout", 5*time.Minute, "how long requests wait for --reconnect when the daemon died, before they fail")
	c.Flags().IntVar(&o.Connections, "connections", 1, "connections to the daemon")
	return c
}

// chooseExport fills in which export is meant, and returns what is known of it.
func (a *app) chooseExport(c *cobra.Command, args []string, export string, o *blockdev.AttachOptions) (attached, error) {
	if strings.Contains(args[0], "://") {
		switch {
		case len(args) > 1:
			return attached{}, usage(c, "usage: "+c.UseLine(), "unexpected argument %q after an address", args[1])
		case export != "":
			return attached{}, usage(c, "an address names the export by itself", "--export does not go with an address")
		}
		err := o.SetURI(args[0])
		return attached{Disk: o.Export, Socket: o.Socket}, err
	}
	if len(args) < 2 {
		return attached{}, usage(c, "usage: "+c.UseLine(), "DISK is missing")
	}
	x, d, err := a.findDisk(c.Context(), args[0], args[1], export)
	if err != nil {
		return attached{}, err
	}
	o.Socket, o.Export = d.Socket, d.Export
	return attached{Group: x.Group, Disk: d.Name, Export: x.Id, Socket: d.Socket, Size: d.Size}, nil
}

func detachCommand(a *app) *cobra.Command {
	return &cobra.Command{
		Use: "detach DEVICE", Short: "give an attached block device back", Args: args("DEVICE"),
		RunE: a.runE(func(_ *cobra.Command, args []string) error {
			if err := blockdev.Detach(args[0]); err != nil {
				return err
			}
			if a.json {
				return a.printJSON(map[string]string{"detached": args[0]})
			}
			return nil
		}),
	}
}

// findDisk returns the one export of group that serves disk; with several, the
// operator has to say which.
func (a *app) findDisk(ctx context.Context, group, disk, export string) (*adminv1.Export, *adminv1.Disk, error) {
	fail := func(err error, hint string) (*adminv1.Export, *adminv1.Disk, error) {
		return nil, nil, &redoubt.Error{Op: "find disk", Object: group + "/" + disk, Err: err, Hint: hint}
	}
	r, err := ask(ctx, a, (*admin.Client).ListExports, &adminv1.ListExportsRequest{Group: group})
	if err != nil {
		return nil, nil, err
	}
	var x *adminv1.Export
	var d *adminv1.Disk
	var ids []string
	for _, e := range r.Exports {
		for _, ed := range e.Disks {
			if e.Group == group && ed.Name == disk && (export == "" || export == e.Id) {
				x, d, ids = e, ed, append(ids, e.Id)
			}
		}
	}
	switch {
	case len(ids) == 0:
		return fail(redoubt.ErrNotFound, "redoubt disk list names the disks that this node serves")
	case len(ids) > 1:
		return fail(fmt.Errorf("open at several points: %w", redoubt.ErrInvalid), "choose one with --export "+strings.Join(ids, "|"))
	}
	return x, d, nil
}
