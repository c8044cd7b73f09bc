package config

import (
	"net"
	"path/filepath"
	"time"

	"github.com/redoubt-dr/redoubt"
)

// DefaultPath is where redoubtd looks for its configuration.
const DefaultPath = "/etc/redoubt/redoubtd.yaml"

// DefaultPort is the port of the one TLS listener.
const DefaultPort = "7700"

// preset fills a value before the file is read over it, so that an explicit
// zero is a zero and is judged as one. Every default stands in this file and in
// docs/CONFIG.md.
func (c *Config) preset() {
	c.DataDir = "/var/lib/redoubt"
	c.RunDir = "/run/redoubt"
	c.Identity = "/etc/redoubt/identity"
	c.Listen = "0.0.0.0:" + DefaultPort
	c.Log = Log{Level: "info", Format: "text"}
}

func (g *Group) preset() {
	g.Journal = Journal{Max: 4 * GiB, Segment: 64 * MiB, OnFull: "track", FullWait: Duration(30 * time.Second)}
	g.Redundancy = Redundancy{Data: 2, Parity: 1}
	g.Memory = 256 * MiB
	g.NBD.ReadMemory = 256 * MiB
	g.Verify.Rate = 64 * MiB
	g.Hooks = Hooks{Time: Duration(30 * time.Second), Hold: Duration(time.Minute)}
}

func (t *Target) preset() {
	t.OwnerTimeout = Duration(3 * time.Second)
	t.Cache = 256 * MiB
	t.Scrub = Scrub{Rate: 16 * MiB, Every: Duration(7 * 24 * time.Hour)}
	t.Repair = Repair{Rate: 64 * MiB, Lag: Duration(time.Second)}
	t.Checks = Checks{Time: Duration(10 * time.Minute)}
	t.Hydrate = "none"
	t.HydrateRate = 64 * MiB
	t.CompareRate = 256 * MiB
}

func (s *Scheduled) preset() {
	*s = Scheduled{At: "latest", Every: Duration(24 * time.Hour), Hash: true}
}

// derive fills what follows from other values, after the file was read.
func (c *Config) derive() {
	if _, port, err := net.SplitHostPort(c.Listen); err == nil && c.Name != "" && c.Advertise == "" {
		c.Advertise = net.JoinHostPort(c.Name, port)
	}
	if c.Metrics.Listen == "" {
		c.Metrics.Listen = "unix:" + filepath.Join(c.RunDir, "metrics.sock")
	}
	if c.Source == nil {
		return
	}
	for i := range c.Source.Groups {
		g := &c.Source.Groups[i]
		if g.Journal.Dir == "" && redoubt.ValidName("group", g.Name) == nil {
			g.Journal.Dir = filepath.Join(c.DataDir, "groups", g.Name, "journal")
		}
	}
}
