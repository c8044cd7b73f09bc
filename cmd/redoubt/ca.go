package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/redoubt-dr/redoubt/internal/pki"
)

const day = 24 * time.Hour

func caCommand(a *app) *cobra.Command {
	return parent("ca", "make the certificates by which nodes and operators know each other", caInit(a), caIssue(a))
}

type caFiles struct {
	Identity string   `json:"identity"`
	Dir      string   `json:"dir"`
	Files    []string `json:"files"`
}

func (a *app) showFiles(f caFiles) error {
	for i := range f.Files {
		f.Files[i] = filepath.Join(f.Dir, f.Files[i])
	}
	if a.json {
		return a.printJSON(f)
	}
	for _, p := range f.Files {
		fmt.Fprintln(a.out, p)
	}
	return nil
}

func caInit(a *app) *cobra.Command {
	var dir, name string
	var days int
	c := &cobra.Command{
		Use: "init", Short: "make a new certificate authority", Args: args(),
		Long: "Makes ca.crt and ca.key. Keep ca.key off the nodes: whoever has it can make operators.",
		RunE: a.runE(func(*cobra.Command, []string) error {
			if err := pki.InitCA(dir, name, time.Duration(days)*day); err != nil {
				return err
			}
			return a.showFiles(caFiles{"ca/" + name, dir, []string{pki.CACertFile, pki.CAKeyFile}})
		}),
	}
	c.Flags().StringVar(&dir, "dir", "/etc/redoubt/ca", "folder of the authority")
	c.Flags().StringVar(&name, "name", "redoubt", "name of the authority")
	c.Flags().IntVar(&days, "days", 3650, "validity")
	return c
}

func caIssue(a *app) *cobra.Command {
	var ca, out, role, name string
	var hosts []string
	var days int
	c := &cobra.Command{
		Use: "issue --role ROLE --name NAME", Short: "make a certificate for a node or an operator", Args: args(),
		Long: "Makes node.crt, node.key and a copy of ca.crt in a folder that becomes the node's identity (redoubtd) or the operator's (--identity). " +
			"The role client is for NBD over TLS; its folder is what nbds:// URIs take as tls-certificates.",
		RunE: a.runE(func(c *cobra.Command, _ []string) error {
			if role == "" || name == "" {
				return usage(c, "roles are source, target, operator, viewer, keeper, client; the name is the node's, or the operator's", "--role and --name are needed")
			}
			r, err := pki.ParseRole(role)
			if err != nil {
				return err
			}
			id := pki.Identity{Role: r, Name: name}
			if err := id.Validate(); err != nil {
				return err
			}
			if out == "" {
				out = name
			}
			if err := pki.Issue(ca, out, id, hosts, time.Duration(days)*day); err != nil {
				return err
			}
			files := []string{pki.NodeCertFile, pki.NodeKeyFile, pki.CACertFile}
			if r == pki.RoleClient {
				if err := pki.LinkForNBD(out); err != nil {
					return err
				}
				for _, l := range pki.NBDLinks() {
					files = append(files, l.Name)
				}
			}
			return a.showFiles(caFiles{id.String(), out, files})
		}),
	}
	c.Flags().StringVar(&ca, "ca", "/etc/redoubt/ca", "folder of the authority")
	c.Flags().StringVar(&out, "out", "", "folder for the files; default: ./NAME")
	c.Flags().StringVar(&role, "role", "", "source, target, operator, viewer or client")
	c.Flags().StringVar(&name, "name", "", "name of the node, person or NBD client")
	c.Flags().StringSliceVar(&hosts, "host", nil, "host name or IP address for clients that check it, such as curl; may be repeated")
	c.Flags().IntVar(&days, "days", 730, "validity")
	return c
}
